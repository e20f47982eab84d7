// Batches of calibration samples, cut so that what is summed over samples does not depend on how many of them a batch has room for:
// float32 sums in another order are other sums. Sums are made of units, each of which is added up for itself and then to those before.
// No batch parts one, and no run of an MLP does that has room for one. The samples alone say what a unit is: neighbouring short
// sequences, a sequence, or an equal piece of a long one.

import { makeBatches, type SequenceBatch } from "./batches.ts";

/**
 * Tokens of a unit at most. A Hessian is read and written once for each, and the last tiles of each product leave a part of the GPU
 * idle: on an H200 1,024 tokens were as fast as 2,048 with the Hessians of 70B. Every batch has to have room for a unit.
 */
export const UNIT_TOKENS = 1024;
/** Of few tokens units are smaller, so that jobs can share them. */
const LEAST_CELLS = 8;
/** Samples of less tokens in all have smaller units. */
export const WHOLE_UNITS_TOKENS = UNIT_TOKENS * LEAST_CELLS;

/** What lies in one batch in any case: neighbouring sequences that are a unit, or a sequence that is several. */
export function sampleCells(lengths: readonly number[]): SequenceBatch[] {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  return makeBatches(lengths, Math.min(UNIT_TOKENS, Math.ceil(tokens / LEAST_CELLS)));
}

/** Fills batches with neighbouring cells in order, each with at most `maxTokens` tokens but at least one cell. */
export function sampleBatches(cells: readonly SequenceBatch[], maxTokens: number): SequenceBatch[] {
  const sizes = cells.map(({ tokens }) => tokens);
  return makeBatches(sizes, maxTokens).flatMap(({ first, starts, tokens }) => {
    const own = cells.slice(first, first + starts.length - 1);
    const [begin] = own;
    if (!begin) return [];
    const rows = own.map((cell, index) => ({ cell, row: starts[index] ?? 0 }));
    return {
      first: begin.first,
      starts: [
        ...rows.flatMap(({ cell, row }) => cell.starts.slice(0, -1).map((start) => row + start)),
        tokens,
      ],
      tokens,
      firstToken: begin.firstToken,
      units: rows.flatMap(({ cell, row }) => unitEnds(cell).map((end) => row + end)),
    };
  });
}

function unitEnds({ tokens }: SequenceBatch): number[] {
  const count = Math.ceil(tokens / UNIT_TOKENS);
  return Array.from({ length: count }, (_, index) => Math.floor(((index + 1) * tokens) / count));
}
