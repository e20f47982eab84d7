// What a weight's stored tensors mean, on the GPU: the numbers that its quantizer had when it wrote them, bit for bit.

import { type CellGrid, cellGrid, codeStorage } from "../../formats/schemes/compression-format.ts";
import {
  type QuantizedWeight,
  readRowParts,
  readScales,
  readZeroPoints,
  rowRanges,
} from "../../formats/weights/dequantize.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { struct } from "../../gpu/struct.ts";
import unpackCode from "../encode/unpack.wgsl?raw";
import { type RtnTask, tileRowMultiple } from "../rtn/tile-buffers.ts";
import { dequantizeCodes } from "./gptq-kernels.ts";

const NAMES = ["packed", "codes", "scales", "zeroPoints", "groupOf", "meaning"] as const;

type Bytes = Uint8Array<ArrayBuffer>;

const WORKGROUP = 64;
/** Weights that are dequantized at a time. Many are worth their memory: less than a few megabytes of codes come slowly to a GPU. */
const LEAST_WEIGHTS = 4 * 1024 ** 2;
const MOST_WEIGHTS = 16 * 1024 ** 2;
/** Of a weight: a code as it is stored, its number, what it means, and more than its part of scales and zero points. */
const WEIGHT_BYTES = 1 + 4 + 4 + 1;

export const unpackKernel = kernel({
  name: "encode.unpack",
  code: [unpackCode],
  params: struct({
    stored_bits: "u32",
    stored_offset: "i32",
    signed: "u32",
    stream_codes: "u32",
    words_per_stream: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { words: "read", codes: "read_write" },
});

/** A quantized weight whose tensors are in host memory. */
export interface StoredWeight {
  readonly task: RtnTask;
  /** One of its tensors by its last name; null if it has none of that name. */
  tensor(name: string): Bytes | null;
}

export interface Dequantizer extends Disposable {
  /**
   * Dequantizes a weight some rows at a time.
   * @param use takes rows of the weight's dtype, one after the other as they lie in the source, from a buffer
   */
  dequantize(
    stored: StoredWeight,
    use: (firstRow: number, rows: number, from: LedgerBuffer) => Promise<void>,
  ): Promise<void>;
}

/** As many weights at a time as fit into memory that was in use before, so that no job takes more than it has taken; not too few. */
export function weightsAtOnce({ memory }: Gpu): number {
  const room = (memory.peakBytes - memory.bytes) / WEIGHT_BYTES;
  return Math.min(Math.max(Math.floor(room), LEAST_WEIGHTS), MOST_WEIGHTS);
}

/** As many weights of any of these at a time as fit into so many bytes; null if those are too few to be worth it. */
export function weightsWithin(tasks: readonly RtnTask[], bytes: number): number | null {
  const fits = (weights: number) =>
    Object.values(buffersFor(tasks, weights)).reduce((sum, each) => sum + bufferBytes(each), 0) <= bytes;
  return [MOST_WEIGHTS, LEAST_WEIGHTS].find(fits) ?? null;
}

/** Makes buffers for any of some weights. */
export async function openDequantizer(
  { gpu, uploads }: { readonly gpu: Gpu; readonly uploads: UploadRing },
  tasks: readonly RtnTask[],
  pieceWeights: number,
): Promise<Dequantizer> {
  const sizes = buffersFor(tasks, pieceWeights);
  const made: readonly LedgerBuffer[] = await gpu.memory.allocateAll(
    NAMES.map((name) => ({ label: `stored ${name}`, bytes: sizes[name] })),
  );
  const buffers = Object.fromEntries(NAMES.map((name, index) => [name, made[index]])) as Buffers;
  return {
    async dequantize(stored, use) {
      const tables = await readTables(stored);
      await uploads.write(bytesOf(tables.groupOf), buffers.groupOf);
      // Another weight may have had some.
      if (!tables.zeroPoints) await gpu.queue.clear(buffers.zeroPoints);
      const { rows } = stored.task;
      const atOnce = rowsAtOnce(stored.task, pieceWeights);
      for (let firstRow = 0; firstRow < rows; firstRow += atOnce) {
        const own = Math.min(atOnce, rows - firstRow);
        await dequantizePiece({ gpu, uploads }, tables, { firstRow, rows: own }, buffers);
        await use(firstRow, own, buffers.meaning);
      }
    },
    [Symbol.dispose]() {
      for (const buffer of made) buffer[Symbol.dispose]();
    },
  };
}

/** Bytes of buffers for some weights of any of these. */
function buffersFor(tasks: readonly RtnTask[], pieceWeights: number): BufferSizes {
  const all = tasks.map((task) => bufferSizes(weightOf(task), rowsAtOnce(task, pieceWeights)));
  const most = (name: keyof BufferSizes) => Math.max(4, ...all.map((sizes) => sizes[name]));
  return Object.fromEntries(NAMES.map((name) => [name, most(name)])) as BufferSizes;
}

function rowsAtOnce(task: RtnTask, pieceWeights: number): number {
  const multiple = tileRowMultiple(task);
  return Math.min(Math.max(Math.floor(pieceWeights / task.columns / multiple), 1) * multiple, task.rows);
}

function weightOf(task: RtnTask): QuantizedWeight {
  return { ...task, args: task.weights };
}

/** A weight's tensors as its kernels read them. */
interface Tables {
  readonly weight: QuantizedWeight;
  readonly codes: Bytes;
  readonly scales: Float32Array<ArrayBuffer>;
  /** Null where all are zero. */
  readonly zeroPoints: Int32Array<ArrayBuffer> | null;
  readonly groupOf: Uint32Array<ArrayBuffer>;
}

async function readTables(stored: StoredWeight): Promise<Tables> {
  const { task } = stored;
  const { rows, columns } = task;
  const weight = weightOf(task);
  const parts = await readRowParts(weight, 0, rows, async (name, range) => {
    const bytes = stored.tensor(name);
    return await Promise.resolve(bytes && bytes.subarray(range?.start, range?.end));
  });
  const { cellColumns } = cellGrid(task.weights, rows, columns);
  return {
    weight,
    codes: parts.codes as Bytes,
    scales: readScales(weight, parts),
    zeroPoints: parts.zeroPoints && Int32Array.from(readZeroPoints(weight, parts.zeroPoints)),
    groupOf: Uint32Array.from({ length: columns }, (_, column) =>
      parts.groupIndex ? (parts.groupIndex[column] ?? 0) : Math.floor(column / cellColumns),
    ),
  };
}

type BufferSizes = ReturnType<typeof bufferSizes>;
type Buffers = Readonly<Record<keyof BufferSizes, LedgerBuffer>>;

/** Bytes of the buffers that so many rows need. */
function bufferSizes(weight: QuantizedWeight, rows: number) {
  const { columns, dtype, args } = weight;
  const cells = cellsOf(cellGrid(args, rows, columns));
  const { codes } = rowRanges(weight, 0, rows);
  const words = (bytes: number) => Math.ceil(bytes / 4) * 4;
  return {
    packed: words(codes.end),
    codes: rows * columns * 4,
    scales: cells * 4,
    zeroPoints: cells * 4,
    groupOf: columns * 4,
    meaning: words((rows * columns * DTYPE_BITS[dtype]) / 8),
  };
}

function cellsOf({ cellsPerColumn, cellsPerRow }: CellGrid): number {
  return cellsPerColumn * cellsPerRow;
}

async function dequantizePiece(
  { gpu, uploads }: { readonly gpu: Gpu; readonly uploads: UploadRing },
  { weight, codes, scales, zeroPoints }: Tables,
  { firstRow, rows }: { readonly firstRow: number; readonly rows: number },
  buffers: Buffers,
): Promise<void> {
  const { columns, dtype, args } = weight;
  const grid = cellGrid(args, rows, columns);
  const range = rowRanges(weight, firstRow, rows).codes;
  await uploads.write(codes.subarray(range.start, range.end), buffers.packed);
  await unpack(gpu, weight, rows, buffers);
  const whole = cellGrid(args, weight.rows, columns);
  const firstCell = Math.floor(firstRow / whole.cellRows) * whole.cellsPerRow;
  const endCell = firstCell + cellsOf(grid);
  await uploads.write(bytesOf(scales.subarray(firstCell, endCell)), buffers.scales);
  if (zeroPoints) await uploads.write(bytesOf(zeroPoints.subarray(firstCell, endCell)), buffers.zeroPoints);
  const tile = {
    rows,
    columns,
    dtype,
    args,
    grid,
    scales: buffers.scales,
    zero_points: buffers.zeroPoints,
  };
  await dequantizeCodes(gpu, tile, {
    codes: buffers.codes,
    group_of: buffers.groupOf,
    words: buffers.meaning,
  });
}

async function unpack(
  gpu: Gpu,
  { args, format, columns }: QuantizedWeight,
  rows: number,
  { packed, codes }: { readonly packed: LedgerBuffer; readonly codes: LedgerBuffer },
): Promise<void> {
  const { kind, storedBits, storedOffset, rowsPadded } = codeStorage(args, format);
  const streamCodes = rowsPadded ? columns : rows * columns;
  for (const { first, end } of gpu.queue.split(unpackKernel, rows * columns, 1)) {
    await gpu.queue.run(unpackKernel, {
      params: {
        stored_bits: storedBits,
        stored_offset: storedOffset,
        signed: Number(kind === "int" && !rowsPadded),
        stream_codes: streamCodes,
        words_per_stream: Math.ceil((streamCodes * storedBits) / 32),
        first,
        end,
      },
      buffers: { words: packed, codes },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}

function bytesOf({
  buffer,
  byteOffset,
  byteLength,
}: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Bytes {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
