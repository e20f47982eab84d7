// A model folder that has been found, wherever it lies.

import type { RemoteFile } from "../http/fetch-range.ts";
import type { OpenedSource } from "../../api/source-api.ts";

export type ModelFolder =
  | {
      readonly kind: "remote";
      readonly opened: OpenedSource;
      readonly files: ReadonlyMap<string, RemoteFile>;
    }
  | { readonly kind: "local"; readonly opened: OpenedSource; readonly files: ReadonlyMap<string, File> };

/** More files than any model folder has; bounds what a listing can make us keep. */
export const MAX_FILES = 20_000;

export interface PinnedFile {
  readonly path: string;
  readonly bytes: number;
  /** Whatever changes when the contents do: an ETag, a date. */
  readonly version: string | number | null;
}

/** 128 bits of SHA-256 over a place and its files, in hexadecimal: equal files in any order, equal key. */
export async function digestKey(place: string, files: readonly PinnedFile[]): Promise<string> {
  const sorted = files
    .toSorted((a, b) => (a.path < b.path ? -1 : Number(a.path > b.path)))
    .map(({ path, bytes, version }) => [path, bytes, version]);
  const bytes = new TextEncoder().encode(JSON.stringify([place, sorted]));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A folder's or repository's name as it can name the result's folder. */
export function plainName(name: string): string {
  const plain = name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[.-]+|[.-]+$/g, "");
  return plain.slice(0, 96) || "model";
}
