/** Rows of `size` values in rows of `width`, zeros behind them; the same array if they are as wide. */
export function spreadRows(
  rows: Float32Array<ArrayBuffer>,
  size: number,
  width: number,
): Float32Array<ArrayBuffer> {
  if (width === size) return rows;
  const wide = new Float32Array((rows.length / size) * width);
  for (let row = 0; row * size < rows.length; row++) {
    wide.set(rows.subarray(row * size, (row + 1) * size), row * width);
  }
  return wide;
}
