// Rows of a stored Linear's weight to a GPU buffer: plain ones as they lie in the file, codes of 4 and 8 bits dequantized on the
// GPU, others on the host.

import { invariant } from "../../../errors.ts";
import { quantizedScheme, readStoredRows, storedWeight } from "../../../evaluate/weights/dequantize.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { readRows } from "../../../evaluate/weights/weight-values.ts";
import { cellGrid, codeStorage } from "../../../formats/schemes/compression-format.ts";
import {
  type QuantizedWeight,
  readScales,
  readZeroPoints,
  type RowParts,
} from "../../../formats/weights/dequantize.ts";
import { DTYPE_BITS, type FloatDtype, isFloatDtype } from "../../../formats/numbers/dtype.ts";
import { spreadRows } from "../../../formats/weights/spread-rows.ts";
import {
  cellsOf,
  type CodedRows,
  dequantizeCodes,
  prepareDequantize,
} from "../../../gpu/elements/dequantize-codes.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../../gpu/memory.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { Linear } from "../../../model/weight-description.ts";

/** Codes of so many weights, and their cells, are on the GPU at once, but those of a row at least. */
const PIECE_WEIGHTS = 16 * 1024 ** 2;

/** Where rows go: from row `at` of a buffer on, `stride` elements apart. */
export interface RowTarget {
  readonly weight: LedgerBuffer;
  readonly stride: number;
  readonly at: number;
}

export interface StoredRows extends Disposable {
  /** Writes rows [firstRow, firstRow + rows) of a weight, in `rowsDtype`. */
  write(linear: Linear, firstRow: number, rows: number, to: RowTarget): Promise<void>;
}

/** The dtype that a weight's rows have on the GPU: their own, or float32 where they are dequantized or turned over. */
export function rowsDtype(model: StoredModel, linear: Linear): FloatDtype {
  const dtype = model.tensor(linear.source.tensor)?.dtype;
  const isPlain = quantizedScheme(model, linear) === null && !linear.source.turned;
  return isPlain && dtype && isFloatDtype(dtype) ? dtype : "F32";
}

/** GPU bytes of what `openStoredRows` allocates for these Linears. */
export function stagingBytes(model: StoredModel, linears: readonly Linear[]): number {
  const { codes, cells } = stagingOf(model, linears);
  return codes === 0 ? 0 : bufferBytes(codes) + bufferBytes(cells);
}

function stagingOf(model: StoredModel, linears: readonly Linear[]) {
  let [codes, cells] = [0, 0];
  for (const linear of linears) {
    const coded = codedRows(model, linear);
    if (!coded) continue;
    const piece = {
      ...coded,
      rows: Math.min(linear.rows, pieceRows(linear)),
      rowsBefore: coded.cellRows - 1,
    };
    codes = Math.max(codes, (piece.rows * linear.columns * coded.bits) / 8);
    cells = Math.max(cells, cellsOf(piece) * 8);
  }
  return { codes, cells };
}

function pieceRows({ columns }: Linear): number {
  return Math.max(1, Math.floor(PIECE_WEIGHTS / columns));
}

/** How codes lie that the GPU dequantizes; null where the host does, or where there are none. */
function codedRows(model: StoredModel, linear: Linear): Omit<CodedRows, "rows" | "rowsBefore"> | null {
  const scheme = quantizedScheme(model, linear);
  if (!scheme || model.tensor(`${linear.module}.weight_g_idx`)) return null;
  const { args, format, rows, columns } = storedWeight(model, linear, scheme);
  const { kind, storedBits: bits, storedOffset: offset, rowsPadded } = codeStorage(args, format);
  if ((bits !== 4 && bits !== 8) || (columns * bits) % 32 !== 0) return null;
  const { cellRows, cellColumns } = cellGrid(args, rows, columns);
  const own = kind === "int" ? (rowsPadded ? "unsigned" : "signed") : kind;
  return { kind: own, bits, offset, columns, cellRows, cellColumns };
}

/** Rows of a model's weights, with room for the codes of these Linears. */
export async function openStoredRows(
  gpu: Gpu,
  uploads: UploadRing,
  model: StoredModel,
  linears: readonly Linear[],
): Promise<StoredRows> {
  const bytes = stagingOf(model, linears);
  for (const linear of linears) {
    const coded = codedRows(model, linear);
    if (coded) prepareDequantize(gpu, coded);
  }
  const staging =
    bytes.codes === 0
      ? null
      : await gpu.memory.allocateAll([
          { label: "codes of weights", bytes: bytes.codes },
          { label: "scales of weights", bytes: bytes.cells },
        ]);
  return {
    async write(linear, firstRow, rows, to) {
      const coded = codedRows(model, linear);
      if (!coded || !staging) return await fillFromHost(uploads, model, linear, { firstRow, rows, to });
      const [codes, cells] = staging;
      const step = pieceRows(linear);
      for (let done = 0; done < rows; done += step) {
        const first = firstRow + done;
        const count = Math.min(step, rows - done);
        const read = await readCoded(model, linear, first, count);
        await uploads.write(read.codes, codes);
        await uploads.write(read.cells, cells);
        const piece = { ...coded, rows: count, rowsBefore: first % coded.cellRows };
        const target = { values: to.weight, stride: to.stride, firstRow: to.at + done };
        await dequantizeCodes(gpu, piece, { codes, cells }, target);
      }
    },
    [Symbol.dispose]() {
      for (const buffer of staging ?? []) buffer[Symbol.dispose]();
    },
  };
}

async function readCoded(model: StoredModel, linear: Linear, firstRow: number, rows: number) {
  const scheme = quantizedScheme(model, linear);
  invariant(scheme, `${linear.module} is quantized`);
  const weight = storedWeight(model, linear, scheme);
  const parts = await readStoredRows(model, linear, weight, firstRow, rows);
  return { codes: parts.codes, cells: cellBytes(weight, parts, firstRow) };
}

/** A scale and a zero point for each cell of the rows, as float32. */
function cellBytes(weight: QuantizedWeight, parts: RowParts, firstRow: number): Uint8Array {
  const scales = readScales(weight, parts);
  const zeroPoints = parts.zeroPoints ? readZeroPoints(weight, parts.zeroPoints) : null;
  const { cellRows, cellsPerRow } = cellGrid(weight.args, weight.rows, weight.columns);
  const first = Math.floor(firstRow / cellRows) * cellsPerRow;
  const cells = new Float32Array(scales.length * 2);
  for (let cell = 0; cell < scales.length; cell++) {
    cells[2 * cell] = scales[cell] ?? Number.NaN;
    if (zeroPoints) cells[2 * cell + 1] = zeroPoints[first + cell] ?? Number.NaN;
  }
  return new Uint8Array(cells.buffer);
}

interface HostRows {
  readonly firstRow: number;
  readonly rows: number;
  readonly to: RowTarget;
}

async function fillFromHost(
  uploads: UploadRing,
  model: StoredModel,
  linear: Linear,
  { firstRow, rows, to }: HostRows,
): Promise<void> {
  const dtype = rowsDtype(model, linear);
  const rowBytes = (to.stride * DTYPE_BITS[dtype]) / 8;
  // A matrix that lies turned over is read whole, once; others come a piece at a time.
  const step = linear.source.turned ? rows : pieceRows(linear);
  const read = async (done: number) =>
    done < rows ? await hostRows(model, linear, firstRow + done, Math.min(step, rows - done)) : null;
  let next = read(0);
  for (let done = 0; done < rows; done += step) {
    const bytes = await next;
    invariant(bytes, "each piece is read");
    // The next one comes while the GPU takes this one; why it did not is told when it is its turn.
    next = read(done + step);
    next.catch(() => undefined);
    const padded = spreadRows(bytes, bytes.byteLength / Math.min(step, rows - done), rowBytes);
    await uploads.write(padded, to.weight, (to.at + done) * rowBytes);
  }
}

async function hostRows(
  model: StoredModel,
  linear: Linear,
  firstRow: number,
  rows: number,
): Promise<Uint8Array> {
  const tensor = model.tensor(linear.source.tensor);
  const isPlain = tensor && isFloatDtype(tensor.dtype) && quantizedScheme(model, linear) === null;
  if (!isPlain || linear.source.turned) {
    return new Uint8Array((await readRows(model, linear, firstRow, rows)).buffer);
  }
  const rowBytes = (linear.columns * DTYPE_BITS[rowsDtype(model, linear)]) / 8;
  const start = (linear.source.firstRow + firstRow) * rowBytes;
  return await model.read(tensor.name, { start, end: start + rows * rowBytes });
}
