// Rows that come in one input, or cut in several ways: sums over them are to be the same.

/** More than sums are made of in one go. */
export const MANY_ROWS = 4200;

const CUTS = [[MANY_ROWS], [1, 7, 5, 4083, 4, 100], [3000, 1200], Array.from({ length: 42 }, () => 100)];

/** What comes of the rows cut in each of these ways, the whole first. */
export async function inCuts<Result>(
  sum: (cuts: readonly { readonly first: number; readonly rows: number }[]) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const sizes of CUTS) {
    let end = 0;
    const cuts = sizes.map((rows) => ({ first: (end += rows) - rows, rows }));
    results.push(await sum(cuts));
  }
  return results;
}
