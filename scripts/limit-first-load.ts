// Ends a build whose page would come late: what `index.html` loads by itself has a limit.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

/** Compressed by gzip, as static hosts serve it. */
export const FIRST_LOAD_BYTES = 60_000;

/** What of a build is asked for here: scripts say which others they import when they are loaded, not later. */
export type BuiltFiles = Readonly<
  Record<string, { readonly type: "asset" | "chunk"; readonly imports?: readonly string[] }>
>;

/**
 * Compressed bytes of a page and of all that it loads before a click, by file: what its HTML names, and what those scripts import.
 * Workers are not among them: the page is drawn while they come.
 */
export function firstLoad(
  page: string,
  files: BuiltFiles,
  read: (path: string) => Uint8Array,
): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  const take = (path: string): Uint8Array => {
    const bytes = read(path);
    sizes.set(path, gzipSync(bytes, { level: 9 }).byteLength);
    for (const imported of files[path]?.imports ?? []) if (!sizes.has(imported)) take(imported);
    return bytes;
  };
  const html = new TextDecoder().decode(take(page));
  for (const [, path = ""] of html.matchAll(/(?:src|href)="\.\/([^"]+)"/g)) if (!sizes.has(path)) take(path);
  return sizes;
}

export function limitFirstLoad(): Plugin {
  return {
    name: "limit-first-load",
    apply: "build",
    writeBundle({ dir }, bundle) {
      const sizes = firstLoad("index.html", bundle, (path) => readFileSync(join(dir ?? "", path)));
      const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
      if (total <= FIRST_LOAD_BYTES) return;
      const listed = Array.from(sizes, ([path, bytes]) => `${path} ${bytes}`).join(", ");
      this.error(
        `The page loads ${total} bytes of gzip before a click, of at most ${FIRST_LOAD_BYTES}: ${listed}. Import what is needed later when it is needed.`,
      );
    },
  };
}
