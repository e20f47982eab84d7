// The sizes among which a job looks for the way with the least work.

import { UNIT_TOKENS } from "../../../calibrate/sample-batches.ts";
import type { RingSize } from "../../../gpu/staging/ring-pieces.ts";
import type {
  Batching,
  CalibrationDemand,
  CalibrationShape,
  GpuLimits,
} from "../costs/calibration-memory.ts";
import { greatestOf } from "../../../greatest-of.ts";

const MIB = 1024 ** 2;
const TOKEN_STEPS = [32_768, 16_384, 8192, 4096, 2048, 1024, 512, 256, 128] as const;
const MLP_STEPS = [16_384, 4096, 2048, 1024, 512, 256, 128, 64] as const;
const STREAM_STEPS = [256 * MIB, 64 * MIB, 16 * MIB, 4 * MIB, MIB] as const;
const RING_PIECES = 2;
const MAX_PIECE_BYTES = 16 * MIB;
const MIN_PIECE_BYTES = 64 * 1024;

/** All ways worth trying, of those with the batching that is asked for; there are a few hundred. */
export function* shapesToTry(
  demand: CalibrationDemand,
  limits: GpuLimits,
  like: Batching | null = null,
): Generator<CalibrationShape> {
  const longest = greatestOf(demand.lengths);
  const total = demand.lengths.reduce((sum, length) => sum + length, 0);
  const bounded = TOKEN_STEPS.map((tokens) => Math.min(Math.max(tokens, longest), Math.max(total, longest)));
  const bound = demand.maxTokens ?? Infinity;
  const tokenSteps = new Set(like ? [like.maxTokens] : bounded.map((tokens) => Math.min(tokens, bound)));
  for (const maxTokens of tokenSteps) {
    // A batch has a unit at least.
    const most = Math.max(maxTokens, UNIT_TOKENS);
    const mlpSteps = like ? [like.mlpTokens] : MLP_STEPS.map((step) => Math.min(step, most));
    for (const mlpTokens of new Set(mlpSteps)) {
      for (const tileBytes of STREAM_STEPS) {
        const ring = ringFor(tileBytes, limits);
        yield { maxTokens, mlpTokens, tileBytes, ring, readbackRing: ring };
      }
    }
  }
}

/** Pieces that hold no more than a tile: browsers copy a whole piece, used or not. */
function ringFor(tileBytes: number, { budgetBytes }: GpuLimits): RingSize {
  const pieceBytes = 2 ** Math.floor(Math.log2(budgetBytes / 64));
  return {
    pieceBytes: Math.min(Math.max(pieceBytes, MIN_PIECE_BYTES), MAX_PIECE_BYTES, tileBytes),
    pieces: RING_PIECES,
  };
}
