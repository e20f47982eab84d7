// The headers and config.json of a tiny checkpoint, as planning sees them (e2e/fixtures/architectures). Runs in Node.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseHeader, parseHeaderLength } from "../formats/safetensors/safetensors.ts";
import type { SourceTensor } from "../plan/checkpoint/read-headers.ts";

const FILE = "model.safetensors";

export interface Checkpoint {
  readonly config: Record<string, unknown>;
  readonly tensors: readonly SourceTensor[];
  /** Of the tensors. */
  readonly names: readonly string[];
}

export function loadCheckpoint(name: string): Checkpoint {
  const folder = join("e2e/fixtures/architectures", name);
  const file = readFileSync(join(folder, FILE));
  const length = parseHeaderLength(FILE, file, file.byteLength);
  const entries = parseHeader(FILE, file.subarray(8, 8 + length), file.byteLength);
  return {
    config: JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>,
    tensors: entries.map((entry) => ({ ...entry, file: FILE })),
    names: entries.map(({ name: tensor }) => tensor),
  };
}
