// Token ids -> rows of the embedding table, gathered on the host from byte ranges: a table of 128,256 x 8,192 values
// is larger than many GPUs bind, and a calibration set uses a part of it.

import { CalibrationError, invariant } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { DTYPE_BITS, type FloatDtype, widenInto } from "../../formats/numbers/dtype.ts";

/** Rows that lie closer together than this are read as one range: a request costs more than the bytes between. */
const MERGE_GAP_BYTES = 512 * 1024;
const MAX_RANGE_BYTES = 8 * 1024 * 1024;
/** Ranges that are asked for at once, so that a source has more to do than answer one after the other. */
const RANGES_AT_ONCE = 4;

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

/** Rows of a table by token id, in the table's dtype. */
type Rows = Pick<ReadonlyMap<number, Uint8Array>, "get">;

/** Hidden states of token ids, (ids, hidden) float32 without gaps, in the start of `into`. */
export type Embedding = (
  ids: ArrayLike<number>,
  into?: Float32Array<ArrayBuffer>,
) => Promise<Float32Array<ArrayBuffer>>;

/**
 * Opens the rows of `ids`, all that will be asked for: read once if they fit into `limitBytes` of host memory, else anew
 * for each call.
 * @throws CalibrationError if an id is not in the table.
 */
export async function openEmbedding(
  table: EmbeddingTable,
  ids: ReadonlySet<number>,
  limitBytes: number,
): Promise<Embedding> {
  checkIds(table, ids);
  const kept = ids.size * rowBytesOf(table) > limitBytes ? null : await readRows(table, ids);
  const rowsFor = async (asked: ArrayLike<number>) =>
    kept ?? (await readRows(table, new Set(Array.from(asked))));
  return async (asked, into) => statesOf(table, await rowsFor(asked), asked, into);
}

/**
 * The same of rows that are at hand.
 * @throws CalibrationError if an id is not in the table.
 */
export function embeddingOf(
  table: EmbeddingTable,
  ids: ReadonlySet<number>,
  row: (id: number) => Uint8Array,
): Embedding {
  checkIds(table, ids);
  return async (asked, into) => await Promise.resolve(statesOf(table, { get: row }, asked, into));
}

/**
 * Rows of `ids` as the table holds them, not multiplied: `take` gets them without gaps, in the order of the ids, some at a
 * time, and the place among `ids` of the first. The next ones are read meanwhile.
 * @param ids ascending, none twice
 * @throws CalibrationError if an id is not in the table.
 */
export async function eachRow(
  table: EmbeddingTable,
  ids: readonly number[],
  take: (rows: Uint8Array, first: number) => Promise<void>,
): Promise<void> {
  checkIds(table, new Set(ids));
  const rowBytes = rowBytesOf(table);
  const runs = runsOf(ids, rowBytes);
  const read = async (run: Run | undefined) =>
    run ? await table.read(run.first * rowBytes, (run.last + 1) * rowBytes) : null;
  let next = read(runs[0]);
  let first = 0;
  for (const [index, run] of runs.entries()) {
    const bytes = await next;
    invariant(bytes, "each run is read");
    next = read(runs[index + 1]);
    // If rows cannot be taken, why the next ones could not be read is of no interest.
    next.catch(() => undefined);
    await take(rowsOf(run, bytes, rowBytes), first);
    first += run.ids.length;
  }
}

/** The rows of a run's ids, without those between them. */
function rowsOf({ first, last, ids }: Run, bytes: Uint8Array, rowBytes: number): Uint8Array {
  if (ids.length === last - first + 1) return bytes;
  const rows = new Uint8Array(ids.length * rowBytes);
  ids.forEach((id, place) => {
    const start = (id - first) * rowBytes;
    rows.set(bytes.subarray(start, start + rowBytes), place * rowBytes);
  });
  return rows;
}

/**
 * Hidden states of `ids`, (ids, hidden) float32 without gaps. Each row is read once, however often it is used.
 * @throws CalibrationError if an id is not in the table.
 */
export async function embedTokens(
  table: EmbeddingTable,
  ids: ArrayLike<number>,
  into?: Float32Array<ArrayBuffer>,
): Promise<Float32Array<ArrayBuffer>> {
  const used = new Set(Array.from(ids));
  checkIds(table, used);
  return statesOf(table, await readRows(table, used), ids, into);
}

function rowBytesOf({ columns, dtype }: EmbeddingTable): number {
  return (columns * DTYPE_BITS[dtype]) / 8;
}

function checkIds({ rows }: EmbeddingTable, ids: ReadonlySet<number>): void {
  for (const id of ids) {
    if (Number.isInteger(id) && id >= 0 && id < rows) continue;
    throw new CalibrationError(
      `Token id ${id} is outside the model's vocabulary of ${rows}. The text was made into tokens by another model's tokenizer.`,
    );
  }
}

async function readRows(table: EmbeddingTable, ids: ReadonlySet<number>): Promise<Rows> {
  const rowBytes = rowBytesOf(table);
  const rows = new Map<number, Uint8Array>();
  const runs = runsOf(
    [...ids].toSorted((a, b) => a - b),
    rowBytes,
  );
  await mapLimited(RANGES_AT_ONCE, runs, async (run) => {
    const bytes = await table.read(run.first * rowBytes, (run.last + 1) * rowBytes);
    for (const id of run.ids) {
      const start = (id - run.first) * rowBytes;
      // A copy: a view would keep the whole range alive.
      rows.set(id, bytes.slice(start, start + rowBytes));
    }
  });
  return rows;
}

function statesOf(
  { columns, dtype, multiplier }: EmbeddingTable,
  rows: Rows,
  ids: ArrayLike<number>,
  into = new Float32Array(ids.length * columns),
): Float32Array<ArrayBuffer> {
  const states = into.subarray(0, ids.length * columns);
  for (let place = 0; place < ids.length; place++) {
    const row = rows.get(ids[place] ?? -1);
    invariant(row, "the row of each id was read");
    widenInto(dtype, row, states, place * columns);
  }
  if (multiplier !== 1)
    for (let at = 0; at < states.length; at++) states[at] = (states[at] ?? 0) * multiplier;
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
