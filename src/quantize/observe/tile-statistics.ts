// What a tile counts on the GPU beside its codes.

import { MAX_MSE_STEPS } from "./mse-settings.ts";

/** Words of a tile's statistics before those of a search's steps. */
const HEAD_WORDS = 4;

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

/** Bytes of a tile's statistics on the GPU. */
export function statisticsBytes(searches: boolean): number {
  return (HEAD_WORDS + (searches ? MAX_MSE_STEPS : 0)) * 4;
}

export function readStatistics(bytes: Uint8Array<ArrayBuffer>): TileStatistics {
  const words = new Uint32Array(bytes.buffer);
  const floats = new Float32Array(bytes.buffer);
  return {
    nonfinite: words[0] ?? 0,
    firstNonfinite: 0xffffffff - (words[1] ?? 0),
    low: -(floats[2] ?? 0),
    high: floats[3] ?? 0,
    steps: words.subarray(HEAD_WORDS),
  };
}
