// Token ids -> rows of the embedding table, gathered on the host from byte ranges: a table of 128,256 x 8,192 values
// is larger than many GPUs bind, and a calibration set uses a part of it.

import { CalibrationError } from "../../errors.ts";
import { DTYPE_BITS, type FloatDtype, widenToFloat32 } from "../../formats/dtype.ts";

/** Rows that lie closer together than this are read as one range: a request costs more than the bytes between. */
const MERGE_GAP_BYTES = 64 * 1024;
const MAX_RANGE_BYTES = 8 * 1024 * 1024;

export interface EmbeddingTable {
  readonly dtype: FloatDtype;
  /** (vocabulary, hidden) */
  readonly rows: number;
  readonly columns: number;
  /** Factor of the rows (`DecoderDescription.embedding.multiplier`). */
  readonly multiplier: number;
  /** Bytes [start, end) of the table. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/**
 * Hidden states of `ids`, (ids, hidden) float32 without gaps. Each row is read once, however often it is used.
 * @throws CalibrationError if an id is not in the table.
 */
export async function embedTokens(
  table: EmbeddingTable,
  ids: ArrayLike<number>,
): Promise<Float32Array<ArrayBuffer>> {
  const { rows, columns, dtype, multiplier } = table;
  const wrong = Array.from(ids).find((id) => !Number.isInteger(id) || id < 0 || id >= rows);
  if (wrong !== undefined) {
    throw new CalibrationError(
      `Token id ${wrong} is outside the model's vocabulary of ${rows}. The calibration data was tokenized with another model's tokenizer.`,
    );
  }
  const places = new Map<number, number[]>();
  for (let place = 0; place < ids.length; place++) {
    const id = ids[place] ?? 0;
    const known = places.get(id);
    if (known) known.push(place);
    else places.set(id, [place]);
  }
  const rowBytes = (columns * DTYPE_BITS[dtype]) / 8;
  const states = new Float32Array(ids.length * columns);
  for (const run of runsOf(
    [...places.keys()].toSorted((a, b) => a - b),
    rowBytes,
  )) {
    const bytes = await table.read(run.first * rowBytes, (run.last + 1) * rowBytes);
    for (const id of run.ids) {
      const start = (id - run.first) * rowBytes;
      const row = widenToFloat32(dtype, bytes.subarray(start, start + rowBytes));
      if (multiplier !== 1) for (const [index, value] of row.entries()) row[index] = value * multiplier;
      for (const place of places.get(id) ?? []) states.set(row, place * columns);
    }
  }
  return states;
}

interface Run {
  readonly first: number;
  last: number;
  readonly ids: number[];
}

/** Neighbouring ids as ranges of rows. */
function runsOf(sorted: readonly number[], rowBytes: number): Run[] {
  const runs: Run[] = [];
  for (const id of sorted) {
    const run = runs.at(-1);
    const near = run && (id - run.last - 1) * rowBytes <= MERGE_GAP_BYTES;
    if (run && near && (id - run.first + 1) * rowBytes <= MAX_RANGE_BYTES) {
      run.last = id;
      run.ids.push(id);
    } else {
      runs.push({ first: id, last: id, ids: [id] });
    }
  }
  return runs;
}
