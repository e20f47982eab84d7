// Matrices that lie with inputs before outputs, read the way round that matrix products want.

/** Some columns of a matrix (columns, width), as the rows of another. */
export interface TurnedPart {
  /** Bytes of a value: 2 or 4. */
  readonly bytesEach: number;
  readonly width: number;
  /** The matrix's column that is the first row. */
  readonly firstColumn: number;
  /** How far apart the columns of neighbouring rows are; default 1. */
  readonly step?: number;
  /** Rows of the matrix: values of each row that is read. */
  readonly columns: number;
}

/** Rows and columns that are turned over at a time, so that both ends of the way stay in the processor's cache. */
const TURNED_AT_ONCE = 64;

/** Rows [firstRow, firstRow + rows) of the part, one after the other. */
export function turnOver(
  matrix: Uint8Array<ArrayBuffer>,
  { bytesEach, width, firstColumn, step = 1, columns }: TurnedPart,
  firstRow: number,
  rows: number,
): Uint8Array<ArrayBuffer> {
  const Values = bytesEach === 2 ? Uint16Array : Uint32Array;
  const aligned = matrix.byteOffset % bytesEach === 0 ? matrix : matrix.slice();
  const from = new Values(aligned.buffer, aligned.byteOffset, aligned.byteLength / bytesEach);
  const to = new Values(rows * columns);
  for (let rowBlock = 0; rowBlock < rows; rowBlock += TURNED_AT_ONCE) {
    const lastRow = Math.min(rowBlock + TURNED_AT_ONCE, rows);
    for (let block = 0; block < columns; block += TURNED_AT_ONCE) {
      const lastColumn = Math.min(block + TURNED_AT_ONCE, columns);
      for (let row = rowBlock; row < lastRow; row++) {
        const place = firstColumn + (firstRow + row) * step;
        for (let column = block; column < lastColumn; column++)
          to[row * columns + column] = from[column * width + place] ?? 0;
      }
    }
  }
  return new Uint8Array(to.buffer);
}
