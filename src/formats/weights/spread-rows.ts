/** Rows of `size` values in rows of `width`, zeros behind them; the same array if they are as wide. */
export function spreadRows(
  rows: Float32Array<ArrayBuffer>,
  size: number,
  width: number,
): Float32Array<ArrayBuffer>;
export function spreadRows<Bytes extends Uint8Array>(
  rows: Bytes,
  size: number,
  width: number,
): Bytes | Uint8Array<ArrayBuffer>;
export function spreadRows(rows: Float32Array | Uint8Array, size: number, width: number) {
  if (width === size) return rows;
  const length = (rows.length / size) * width;
  const wide = rows instanceof Float32Array ? new Float32Array(length) : new Uint8Array(length);
  for (let row = 0; row * size < rows.length; row++) {
    wide.set(rows.subarray(row * size, (row + 1) * size), row * width);
  }
  return wide;
}
