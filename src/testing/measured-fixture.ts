// A fixture whose quality is measured, and what PyTorch's logits say of it.

import type { StoredModel } from "../evaluate/weights/stored-model.ts";
import { floatsOf, loadArchitecture } from "./architecture-fixture.ts";
import { fixtureIds } from "./open-decoder.ts";
import { storedFixture } from "./stored-fixture.ts";

export interface MeasuredFixture {
  readonly model: StoredModel;
  readonly sequences: number[][];
  /** PyTorch's logits of the first sequence, then of the others. */
  readonly logits: Float32Array;
}

/** Opens a fixture as a stored model, with its sequences. */
export async function openMeasured(name: string): Promise<MeasuredFixture> {
  const fixture = await loadArchitecture(name);
  const { ids, lengths } = fixtureIds(fixture);
  const sequences: number[][] = [];
  let first = 0;
  for (const length of lengths) sequences.push(ids.slice(first, (first += length)));
  return {
    model: storedFixture(fixture.config, fixture.tensors),
    sequences,
    logits: floatsOf(fixture.reference, "logits"),
  };
}

/** Log-probabilities in float64, row by row. */
export function logSoftmax(logits: Float32Array, vocabulary: number): number[][] {
  return Array.from({ length: logits.length / vocabulary }, (_, row) => {
    const values = [...logits.subarray(row * vocabulary, (row + 1) * vocabulary)];
    const largest = Math.max(...values);
    const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
    return values.map((value) => value - largest - Math.log(sum));
  });
}

/** Rows whose next token is known, with that token. */
export function* predicted(sequences: readonly number[][]) {
  let row = 0;
  for (const ids of sequences) {
    for (const target of ids.slice(1)) yield { row: row++, target };
    row++;
  }
}
