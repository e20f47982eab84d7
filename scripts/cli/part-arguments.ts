// Options of `npm run compress` that ask for a part of a job.

import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import type { JobPart } from "../../src/api/job-options.ts";
import {
  MAX_STATES_HEADER_BYTES,
  readStatesHeader,
  statesFileName,
} from "../../src/calibrate/states-file.ts";
import { UsageError } from "./argument-readers.ts";

export const PART_OPTIONS = {
  layers: { type: "string" },
  "states-at": { type: "string" },
  "from-states": { type: "string" },
  plan: { type: "boolean", default: false },
  parts: { type: "string" },
} as const;

interface PartValues {
  readonly layers?: string | undefined;
  readonly "states-at"?: string | undefined;
  readonly "from-states"?: string | undefined;
}

export interface AskedPart {
  /** The part to do; null for the whole model. */
  readonly part: JobPart | null;
  /** Hidden states on this machine that the part begins with, or null. */
  readonly statesFile: string | null;
}

/** @throws UsageError if the options are not understood, or contradict each other */
export function readPart(values: PartValues): AskedPart {
  const { layers, "states-at": statesAt, "from-states": folder } = values;
  if (statesAt !== undefined && (layers !== undefined || folder !== undefined))
    throw new UsageError(
      "--states-at makes hidden states and nothing else: it goes without --layers and --from-states.",
    );
  if (folder !== undefined && (layers === undefined || layers === "rest"))
    throw new UsageError("--from-states is what a range of layers begins with: it needs --layers A..B.");
  if (statesAt !== undefined) return { part: { kind: "states", at: readLayers(statesAt) }, statesFile: null };
  const part = layers === undefined ? null : readRange(layers);
  if (folder === undefined || part?.kind !== "layers") return { part, statesFile: null };
  const { path, forwardProducts } = findStates(folder, part.first);
  return { part: { ...part, forwardProducts }, statesFile: part.first > 0 ? path : null };
}

/** "4,8,12" */
function readLayers(text: string): number[] {
  if (!/^\d{1,6}(,\d{1,6})*$/.test(text))
    throw new UsageError(`--states-at ${text} is no list of layers such as 4,8,12.`);
  return [...new Set(text.split(",").map(Number))].toSorted((a, b) => a - b);
}

/** "4..7", both included, or "rest". */
function readRange(text: string): JobPart {
  if (text === "rest") return { kind: "rest" };
  const [, first, last] = /^(\d{1,6})\.\.(\d{1,6})$/.exec(text) ?? [];
  if (first === undefined || last === undefined || Number(first) > Number(last))
    throw new UsageError(
      `--layers ${text} is no range such as 4..7, the last layer included, and not the word rest.`,
    );
  return { kind: "layers", first: Number(first), last: Number(last) };
}

/** States in front of a layer. Those of layer 0 are made of token ids: any others tell what products run on. */
function findStates(
  folder: string,
  layer: number,
): { readonly path: string; readonly forwardProducts: string } {
  const names = existsSync(folder) && statSync(folder).isDirectory() ? readdirSync(folder) : [];
  const name =
    layer > 0
      ? statesFileName(layer)
      : names.find((candidate) => /^states-\d+\.safetensors$/.test(candidate));
  if (name === undefined || !names.includes(name))
    throw new UsageError(
      `--from-states ${folder} has no ${name ?? "hidden states"}. Make them with --states-at${layer > 0 ? ` ${layer}` : ""} --out ${folder}.`,
    );
  const path = join(folder, name);
  return { path, forwardProducts: productsOf(path) };
}

function productsOf(path: string): string {
  const beginning = new Uint8Array(MAX_STATES_HEADER_BYTES);
  const file = openSync(path, "r");
  try {
    const bytes = readSync(file, beginning);
    return readStatesHeader(path, beginning.subarray(0, bytes), statSync(path).size).facts.forwardProducts;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  } finally {
    closeSync(file);
  }
}
