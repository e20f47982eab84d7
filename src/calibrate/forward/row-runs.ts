import type { HiddenRows } from "./forward-pass.ts";

/** Some rows of a batch. */
type BatchRows = Pick<HiddenRows, "firstRow" | "rows">;

/**
 * Rows in runs of at most so many, cut between units where a run has room for one.
 * @param units rows at which units end (`SequenceBatch.units`)
 */
export function* rowRuns(
  { firstRow: begin, rows }: BatchRows,
  most: number,
  units: readonly number[] = [],
): Generator<BatchRows> {
  const end = begin + rows;
  for (let firstRow = begin; firstRow < end;) {
    const farthest = Math.min(firstRow + most, end);
    const start = firstRow;
    const whole = units.findLast((unit) => unit > start && unit <= farthest);
    const next = farthest === end ? end : (whole ?? farthest);
    yield { firstRow, rows: next - firstRow };
    firstRow = next;
  }
}
