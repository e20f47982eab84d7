// The union of ranges, as few ranges.

/** Sorts ranges by file and place and joins those that touch. */
export function mergeRanges(ranges: readonly FileRange[]): FileRange[] {
  const merged: FileRange[] = [];
  const sorted = ranges.toSorted(
    (a, b) => (a.path < b.path ? -1 : Number(a.path > b.path)) || a.start - b.start,
  );
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last && last.path === range.path && range.start <= last.end) {
      merged[merged.length - 1] = { ...last, end: Math.max(last.end, range.end) };
    } else merged.push(range);
  }
  return merged;
}

/** A half-open range of bytes of one file. */
export interface FileRange {
  readonly path: string;
  readonly start: number;
  readonly end: number;
}

export function rangesBytes(ranges: readonly FileRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
