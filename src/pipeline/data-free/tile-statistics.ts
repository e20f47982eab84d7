// What a tile counts on the GPU beside its codes, and what a whole weight makes of it.

import { MalformedModelError } from "../../errors.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { STATISTICS_HEAD_WORDS } from "../../quantize/rtn/tile-buffers.ts";

export interface TileStatistics {
  /** Weights that are NaN or infinite. */
  readonly nonfinite: number;
  /** Index in the tile of the first of them. */
  readonly firstNonfinite: number;
  /** Smallest and largest weight, reaching to 0; only after the tile was observed. */
  readonly low: number;
  readonly high: number;
  /** One word for each step of a search: whether it improved a group, or the bits of its error. */
  readonly steps: Uint32Array;
}

export function readStatistics(bytes: Uint8Array<ArrayBuffer>): TileStatistics {
  const words = new Uint32Array(bytes.buffer);
  const floats = new Float32Array(bytes.buffer);
  return {
    nonfinite: words[0] ?? 0,
    firstNonfinite: 0xffffffff - (words[1] ?? 0),
    low: -(floats[2] ?? 0),
    high: floats[3] ?? 0,
    steps: words.subarray(STATISTICS_HEAD_WORDS),
  };
}

/** @throws MalformedModelError if a weight of the tile is NaN or infinite, saying where. */
export function checkFinite(task: QuantizeTask, firstRow: number, statistics: TileStatistics): void {
  const { nonfinite, firstNonfinite } = statistics;
  if (nonfinite === 0) return;
  const row = firstRow + Math.floor(firstNonfinite / task.columns);
  throw new MalformedModelError(
    `${task.tensor.name} has ${nonfinite} NaN or infinite weights in its rows from ${firstRow}, the first at row ${row}, column ${firstNonfinite % task.columns}. They cannot be quantized: the file ${task.tensor.file} is damaged (delete the stored source and try again), or the model itself is broken (add ${task.module} to ignore).`,
  );
}
