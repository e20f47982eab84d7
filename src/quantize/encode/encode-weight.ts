// Weights, scales and zero points to the packed bytes that the file holds.

import type { CellGrid, CodeStorage } from "../../formats/schemes/compression-format.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { DTYPE_CODE } from "../../gpu/elements/dtype-code.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { struct } from "../../gpu/struct.ts";
import type { GpuWeight } from "../observe/observe-weight.ts";
import encodeCode from "./encode.wgsl?raw";
import packCode from "./pack.wgsl?raw";
import { GRID_FIELDS, gridParams } from "../grid-params.ts";

const WORKGROUP = 64;
const KIND_CODE = { int: 0, e4m3: 1, e2m1: 2 } as const satisfies Record<CodeStorage["kind"], number>;

export const encodeKernel = kernel({
  name: "encode.encode",
  code: [numberFormats, encodeCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    ...GRID_FIELDS,
    q_min: "f32",
    q_max: "f32",
    global_scale: "f32",
    stored_bits: "u32",
    stored_offset: "i32",
    stream_codes: "u32",
    words_per_stream: "u32",
    first_word: "u32",
    end_word: "u32",
  }),
  bindings: { weights: "read", scales: "read", zero_points: "read", codes: "read_write" },
  constants: ["DTYPE", "KIND", "SYMMETRIC"],
});

export const packKernel = kernel({
  name: "encode.pack",
  code: [packCode],
  params: struct({
    stored_bits: "u32",
    stored_offset: "i32",
    stream_codes: "u32",
    words_per_stream: "u32",
    code_stride: "u32",
    stream_stride: "u32",
    word_stride: "u32",
    word_stream_stride: "u32",
    first_word: "u32",
    end_word: "u32",
  }),
  bindings: { codes: "read", words: "read_write" },
});

export interface EncodeLayout {
  readonly grid: CellGrid;
  readonly storage: CodeStorage;
  /** NVFP4's scale of the whole tensor; 0 where there is none. */
  readonly globalScale: number;
}

/** Quantizes a weight with the given scales and zero points and packs the codes as `storage` says. */
export async function encodeWeight(
  gpu: Gpu,
  weight: GpuWeight,
  args: QuantizationArgs,
  layout: EncodeLayout,
  buffers: { readonly scales: BufferPart; readonly zero_points: BufferPart; readonly codes: BufferPart },
): Promise<void> {
  const { grid, storage } = layout;
  const [q_min, q_max] = quantizedRange(args);
  const streamCodes = storage.rowsPadded ? weight.columns : weight.rows * weight.columns;
  const streams = storage.rowsPadded ? weight.rows : 1;
  const wordsPerStream = Math.ceil((streamCodes * storage.storedBits) / 32);
  const codesPerWord = 32 / storage.storedBits;
  const constants = {
    DTYPE: DTYPE_CODE[weight.dtype],
    KIND: KIND_CODE[storage.kind],
    SYMMETRIC: Number(args.symmetric),
  };
  for (const { first, end } of gpu.queue.split(encodeKernel, streams * wordsPerStream, codesPerWord)) {
    await gpu.queue.run(encodeKernel, {
      constants,
      params: {
        rows: weight.rows,
        columns: weight.columns,
        ...gridParams(grid),
        q_min,
        q_max,
        global_scale: layout.globalScale,
        stored_bits: storage.storedBits,
        stored_offset: storage.storedOffset,
        stream_codes: streamCodes,
        words_per_stream: wordsPerStream,
        first_word: first,
        end_word: end,
      },
      buffers: { weights: weight.weights, ...buffers },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * codesPerWord,
    });
  }
}

export interface PackLayout {
  readonly storedBits: number;
  readonly storedOffset: number;
  readonly streams: number;
  readonly streamCodes: number;
  readonly codeStride: number;
  readonly streamStride: number;
  readonly wordStride: number;
  readonly wordStreamStride: number;
}

/** Codes (rows, columns) packed row by row, each row padded to whole words. */
export function packRows(rows: number, columns: number, storage: CodeStorage): PackLayout {
  const wordsPerStream = Math.ceil((columns * storage.storedBits) / 32);
  return {
    storedBits: storage.storedBits,
    storedOffset: storage.storedOffset,
    streams: rows,
    streamCodes: columns,
    codeStride: 1,
    streamStride: columns,
    wordStride: 1,
    wordStreamStride: wordsPerStream,
  };
}

/** Codes (rows, columns) packed down each column: how pack-quantized stores zero points. */
export function packColumns(rows: number, columns: number, storage: CodeStorage): PackLayout {
  return {
    storedBits: storage.storedBits,
    storedOffset: storage.storedOffset,
    streams: columns,
    streamCodes: rows,
    codeStride: columns,
    streamStride: 1,
    wordStride: columns,
    wordStreamStride: 1,
  };
}

/** Packs int32 `codes` into `words`. */
export async function packCodes(
  gpu: Gpu,
  codes: BufferPart,
  words: BufferPart,
  layout: PackLayout,
): Promise<void> {
  const wordsPerStream = Math.ceil((layout.streamCodes * layout.storedBits) / 32);
  const codesPerWord = 32 / layout.storedBits;
  for (const { first, end } of gpu.queue.split(packKernel, layout.streams * wordsPerStream, codesPerWord)) {
    await gpu.queue.run(packKernel, {
      params: {
        stored_bits: layout.storedBits,
        stored_offset: layout.storedOffset,
        stream_codes: layout.streamCodes,
        words_per_stream: wordsPerStream,
        code_stride: layout.codeStride,
        stream_stride: layout.streamStride,
        word_stride: layout.wordStride,
        word_stream_stride: layout.wordStreamStride,
        first_word: first,
        end_word: end,
      },
      buffers: { codes, words },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * codesPerWord,
    });
  }
}
