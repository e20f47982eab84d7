// Sequences laid end to end into batches: one dispatch serves several short sequences, and none is padded.

import { greatestOf } from "../greatest-of.ts";

export interface SequenceBatch {
  /** Index of the first sequence. */
  readonly first: number;
  /** Token offsets of the batch's sequences, and its length as the last entry. */
  readonly starts: readonly number[];
  readonly tokens: number;
  /** Tokens of all batches before this one. */
  readonly firstToken: number;
  /** Rows at which the units end that sums over samples are made of (`sample-batches.ts`); none if absent. */
  readonly units?: readonly number[];
}

/** Tokens of the largest batch, which may be more or fewer than were asked for. */
export function mostTokens(batches: readonly Pick<SequenceBatch, "tokens">[]): number {
  return greatestOf(batches.map(({ tokens }) => tokens));
}

/** Fills batches in order, each with at most `maxTokens` tokens but at least one sequence. */
export function makeBatches(lengths: readonly number[], maxTokens: number): SequenceBatch[] {
  const batches: SequenceBatch[] = [];
  let firstToken = 0;
  for (let first = 0; first < lengths.length;) {
    const starts = [0];
    let tokens = 0;
    while (first + starts.length - 1 < lengths.length) {
      const length = lengths[first + starts.length - 1] ?? 0;
      if (tokens > 0 && tokens + length > maxTokens) break;
      tokens += length;
      starts.push(tokens);
    }
    batches.push({ first, starts, tokens, firstToken });
    firstToken += tokens;
    first += starts.length - 1;
  }
  return batches;
}
