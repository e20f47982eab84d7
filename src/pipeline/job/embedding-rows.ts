// Rows of the embedding table that samples use, kept while the table is copied into the result: else all of it would be stored, or
// fetched again, for the first hidden states.

import { invariant } from "../../errors.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import { type FileRange, mergeRanges } from "../../formats/files/file-ranges.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import type { CompressionPlan } from "../planning/compression-plan.ts";

/** What tells which rows samples use. */
interface RowsDemand {
  readonly model: Pick<OpenModel, "tensors">;
  readonly plan: Pick<CompressionPlan, "calibration" | "part">;
}

/**
 * Host memory for them: the whole tables of Llama 3.3 70B and Gemma 3 27B (2.1 and 2.8 GB). Each row has a token at least, whose
 * hidden states take twice as much; without rows at hand, a chunk of 16 MiB would be read again for each of a batch's rows.
 */
export const MAX_EMBEDDING_BYTES = 3 * 1024 ** 3;

/** What is read of a table at once; of each, several chunks come at a time. */
const PIECE_BYTES = 64 * 1024 ** 2;
/** What a source gives for a row, however short. */
const CHUNK_BYTES = 16 * 1024 ** 2;

export interface EmbeddingRows {
  /** True if what passes by will be kept, so that the source need not be. */
  readonly keeps: boolean;
  /** True if rows lie so close that a source gives all of the table for them, in whatever parts they are asked for. */
  readonly areClose: boolean;
  /** Lets the table pass by, if it has not, once for all who ask. */
  bring(read: (range: FileRange) => Promise<Uint8Array>): Promise<void>;
  /** Keeps what samples use of a range that was read of the source. */
  pass(range: FileRange, bytes: Uint8Array): void;
  /** A range of the table, zeros where no sample uses a row; null if not all rows that samples use have passed by. */
  read(range: FileRange): Uint8Array<ArrayBuffer> | null;
  /** The row of an id that samples use, once all of those have passed by. */
  row(id: number): Uint8Array;
  forget(): void;
}

interface UsedRows {
  /** Where the table lies in its file. */
  readonly table: FileRange;
  readonly rowBytes: number;
  /** Ascending. */
  readonly ids: Uint32Array;
}

/** Keeps nothing where nobody asks for the first hidden states, or where rows take too much memory. */
export function keepRows(job: RowsDemand, limitBytes = MAX_EMBEDDING_BYTES): EmbeddingRows {
  const used = usedRows(job);
  const keeps = used !== null && used.ids.length * used.rowBytes <= limitBytes;
  let rows: Uint8Array<ArrayBuffer>[] = [];
  let passed: readonly FileRange[] = [];
  const isComplete = (demand: UsedRows) => {
    const { start, end } = spanOf(demand);
    return passed.some((range) => range.start <= start && end <= range.end);
  };
  const pass = (range: FileRange, bytes: Uint8Array) => {
    if (!used || !keeps || !overlaps(range, used.table)) return;
    for (const { place, at, from, length } of sharedParts(used, range)) {
      rows[place] ??= new Uint8Array(used.rowBytes);
      rows[place].set(bytes.subarray(from, from + length), at);
    }
    passed = mergeRanges([...passed, range]);
  };
  const bringing = createBringing(pass);
  return {
    keeps,
    areClose: used !== null && keeps && used.ids.length * CHUNK_BYTES >= lengthOf(spanOf(used)),
    async bring(read) {
      if (!used || !keeps || isComplete(used)) return;
      await bringing.bring(spanOf(used), read);
    },
    pass,
    read(range) {
      if (!used || !isComplete(used)) return null;
      const bytes = new Uint8Array(range.end - range.start);
      for (const { place, at, from, length } of sharedParts(used, range)) {
        const row = rows[place];
        invariant(row, "each row that is used has passed by");
        bytes.set(row.subarray(at, at + length), from);
      }
      return bytes;
    },
    row(id) {
      const row = used && rows[placeOf(used.ids, id)];
      invariant(row, "each row that is used has passed by");
      return row;
    },
    forget() {
      rows = [];
      passed = [];
      bringing.forget();
    },
  };
}

/** Null where samples need no embedding, and where layers ask the source for more of their tokens. */
function usedRows({ plan: { calibration, part }, model }: RowsDemand): UsedRows | null {
  if (!calibration || part?.states?.length) return null;
  const { description, set } = calibration;
  if (description.tokenInputs) return null;
  const tensor = model.tensors.find(({ name }) => name === description.embedding.tensor);
  invariant(tensor, "the decoder has an embedding");
  const ids = Uint32Array.from(new Set(set.sequences.flatMap((sequence) => [...sequence]))).toSorted();
  const rowBytes = (description.hiddenSize * DTYPE_BITS[tensor.dtype]) / 8;
  return { table: { path: tensor.file, start: tensor.start, end: tensor.end }, rowBytes, ids };
}

/** From the first row that is used to the last. */
function spanOf({ table, rowBytes, ids }: UsedRows): FileRange {
  const start = table.start + (ids[0] ?? 0) * rowBytes;
  return { path: table.path, start, end: table.start + ((ids.at(-1) ?? 0) + 1) * rowBytes };
}

/** Has a range read in pieces, once for all who ask. */
function createBringing(pass: (range: FileRange, bytes: Uint8Array) => void) {
  let bringing: Promise<void> | null = null;
  const begin = async (span: FileRange, read: (range: FileRange) => Promise<Uint8Array>) => {
    for (const range of piecesOf(span)) pass(range, await read(range));
  };
  return {
    bring: async (...asked: Parameters<typeof begin>) => await (bringing ??= begin(...asked)),
    forget() {
      bringing = null;
    },
  };
}

function lengthOf({ start, end }: FileRange): number {
  return end - start;
}

function* piecesOf({ path, start, end }: FileRange): Generator<FileRange> {
  for (let at = start; at < end; at += PIECE_BYTES)
    yield { path, start: at, end: Math.min(at + PIECE_BYTES, end) };
}

function overlaps(range: FileRange, table: FileRange): boolean {
  return range.path === table.path && range.start < table.end && table.start < range.end;
}

/** What a range of the file holds of used rows, each in an array of its own, since all of them may be more than one holds: `at` in the row, `from` in the range. */
function* sharedParts(
  { table, rowBytes, ids }: UsedRows,
  range: FileRange,
): Generator<{ place: number; at: number; from: number; length: number }> {
  const firstId = Math.floor((range.start - table.start) / rowBytes);
  for (let place = placeOf(ids, firstId); place < ids.length; place++) {
    const start = table.start + (ids[place] ?? 0) * rowBytes;
    if (start >= range.end) return;
    const from = Math.max(start, range.start);
    const length = Math.min(start + rowBytes, range.end) - from;
    yield { place, at: from - start, from: from - range.start, length };
  }
}

/** The place of the first id that is not below this one. */
function placeOf(ids: Uint32Array, id: number): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ids[middle] ?? 0) < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
