// Options of `npm run compress` that ask for a part of a job.

import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import type { JobPart } from "../../../src/api/job-options.ts";
import {
  MAX_STATES_HEADER_BYTES,
  readStatesHeader,
  statesFileName,
} from "../../../src/calibrate/states-file.ts";
import { UsageError } from "./argument-readers.ts";
import { readFraction } from "./share-arguments.ts";

export const PART_OPTIONS = {
  layers: { type: "string" },
  "states-at": { type: "string" },
  "samples-of": { type: "string" },
  "from-states": { type: "string", multiple: true },
  plan: { type: "boolean", default: false },
  parts: { type: "string" },
} as const;

interface PartValues {
  readonly layers?: string | undefined;
  readonly "states-at"?: string | undefined;
  readonly "samples-of"?: string | undefined;
  readonly "from-states"?: readonly string[] | undefined;
}

export interface AskedPart {
  /** The part to do; null for the whole model. */
  readonly part: JobPart | null;
  /** Hidden states on this machine that the part begins with, all shares of the samples. */
  readonly statesFiles: readonly string[];
}

/** @throws UsageError if the options are not understood, or contradict each other */
export function readPart(values: PartValues): AskedPart {
  const { layers, "states-at": statesAt, "samples-of": share, "from-states": folders = [] } = values;
  if (statesAt !== undefined && (layers !== undefined || folders.length > 0))
    throw new UsageError(
      "--states-at makes hidden states and nothing else: it goes without --layers and --from-states.",
    );
  if (share !== undefined && statesAt === undefined)
    throw new UsageError(
      "--samples-of is a share of the samples that hidden states are made of: it needs --states-at.",
    );
  if (folders.length > 0 && (layers === undefined || layers === "rest"))
    throw new UsageError("--from-states is what a range of layers begins with: it needs --layers A..B.");
  if (statesAt !== undefined) {
    const at = readLayers(statesAt);
    const own = share === undefined ? {} : { share: readFraction("samples-of", share) };
    return { part: { kind: "states", at, ...own }, statesFiles: [] };
  }
  const part = layers === undefined ? null : readRange(layers);
  if (part?.kind !== "layers") return { part, statesFiles: [] };
  const found = folders.map((folder) => findStates(folder, part.first));
  const [one] = found;
  if (!one) return { part, statesFiles: [] };
  const other = found.find(({ forwardProducts }) => forwardProducts !== one.forwardProducts);
  if (other)
    throw new UsageError(
      `${one.path} and ${other.path} were computed on different units of the GPU (${one.forwardProducts} and ${other.forwardProducts}). Make one of them again on such a GPU as the other's, or both with --forward-products F32.`,
    );
  const { forwardProducts } = one;
  return {
    part: { ...part, forwardProducts },
    statesFiles: part.first > 0 ? found.map(({ path }) => path) : [],
  };
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
