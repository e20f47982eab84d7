// Columns of rows of tokens, taken apart and put together, in plain loops.

/** Columns [first, first + count) of rows of `stride` values. */
export function columnsOf(x: Float64Array, stride: number, first: number, count: number): Float64Array {
  const rows = x.length / stride;
  const result = new Float64Array(rows * count);
  for (let row = 0; row < rows; row++) {
    result.set(x.subarray(row * stride + first, row * stride + first + count), row * count);
  }
  return result;
}

/** Rows of the parts side by side. */
export function beside(parts: readonly (readonly [Float64Array, number])[]): Float64Array {
  const stride = parts.reduce((sum, [, width]) => sum + width, 0);
  const [first] = parts;
  const rows = first ? first[0].length / first[1] : 0;
  const result = new Float64Array(rows * stride);
  let column = 0;
  for (const [x, width] of parts) {
    for (let row = 0; row < rows; row++) {
      result.set(x.subarray(row * width, (row + 1) * width), row * stride + column);
    }
    column += width;
  }
  return result;
}

/** Parts of `groups` equal runs of columns, each part's columns of all groups together. */
export function ungroup(x: Float64Array, groups: number, widths: readonly number[]): Float64Array[] {
  const perGroup = widths.reduce((sum, width) => sum + width, 0);
  let first = 0;
  return widths.map((width) => {
    const start = first;
    first += width;
    const parts = Array.from({ length: groups }, (_, group): [Float64Array, number] => [
      columnsOf(x, groups * perGroup, group * perGroup + start, width),
      width,
    ]);
    return beside(parts);
  });
}
