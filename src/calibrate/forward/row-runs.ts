/** Some rows of a batch. */
export interface RowRun {
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * Rows in runs of at most so many, cut between units where a run has room for one.
 * @param units rows at which units end (`SequenceBatch.units`)
 */
export function* rowRuns(
  { firstRow: begin, rows }: RowRun,
  most: number,
  units: readonly number[] = [],
): Generator<RowRun> {
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
