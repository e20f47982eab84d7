// The kernels of folding and of rounding to nearest for the stub of a GPU, plainly: what verification holds a result against.

import { type FloatDtype, narrowFromFloat32, roundTo, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { DTYPE_CODE } from "../../gpu/elements/dtype-code.ts";
import type { Constants } from "./stub-gpu.ts";

interface Bound {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

type Rule = (bound: readonly Bound[], params: DataView, constants: Constants) => void;

const words = (bound: Bound | undefined) => {
  const { bytes } = bound ?? { bytes: new Uint8Array(0) };
  return new Uint32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / 4));
};
const floats = (bound: Bound | undefined) => {
  const { buffer, byteOffset, length } = words(bound);
  return new Float32Array(buffer, byteOffset, length);
};
const integer = (params: DataView, index: number) => params.getInt32(index * 4, true);
const real = (params: DataView, index: number) => params.getFloat32(index * 4, true);

const dtypeAt = (params: DataView, index: number) => dtypeOf(integer(params, index));

function dtypeOf(code: number | undefined): FloatDtype {
  return (Object.keys(DTYPE_CODE) as FloatDtype[]).find((dtype) => DTYPE_CODE[dtype] === code) ?? "F32";
}

/** Smallest and largest weight of each cell, reaching to 0. */
const range: Rule = ([weights, ranges], params) => {
  const [rows, columns, , cellRows, cellColumns, cellsPerRow, first, end] = Array.from(
    { length: 8 },
    (_, at) => integer(params, at),
  ) as [number, number, number, number, number, number, number, number];
  const values = widenToFloat32(dtypeAt(params, 2), weights?.bytes ?? new Uint8Array(0));
  const found = floats(ranges);
  for (let cell = first; cell < end; cell++) {
    const firstRow = Math.floor(cell / cellsPerRow) * cellRows;
    const firstColumn = (cell % cellsPerRow) * cellColumns;
    let [low, high] = [0, 0];
    for (let row = firstRow; row < Math.min(firstRow + cellRows, rows); row++) {
      const from = row * columns + firstColumn;
      const to = row * columns + Math.min(firstColumn + cellColumns, columns);
      for (const value of values.subarray(from, to)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    found[2 * cell] = low;
    found[2 * cell + 1] = high;
  }
};

/** Symmetric scales in the weights' dtype. */
const qparams: Rule = ([ranges, scales, zeroPoints], params, { DTYPE }) => {
  const dtype = dtypeOf(DTYPE);
  const half = (real(params, 2) - real(params, 1)) / 2;
  const [from, to] = [floats(ranges), floats(scales)];
  for (let cell = 0; cell < integer(params, 0); cell++) {
    const magnitude = Math.max(-(from[2 * cell] ?? 0), from[2 * cell + 1] ?? 0);
    to[cell] = roundTo(dtype, magnitude / half) || real(params, 3);
  }
  words(zeroPoints).fill(0);
};

/** Integer codes: streams of so many codes, each of so many bits, in words. */
const encode: Rule = ([weights, scales, , codes], params, { DTYPE }) => {
  const at = (index: number) => integer(params, index);
  const [columns, cellRows, cellColumns, cellsPerRow] = [at(1), at(2), at(3), at(4)];
  const [low, high] = [real(params, 5), real(params, 6)];
  const [bits, offset, streamCodes, perStream] = [at(8), at(9), at(10), at(11)];
  const dtype = dtypeOf(DTYPE);
  const values = widenToFloat32(dtype, weights?.bytes ?? new Uint8Array(0));
  const [perCell, to] = [floats(scales), words(codes)];
  const codeAt = (index: number) => {
    const row = Math.floor(index / columns);
    const column = index - row * columns;
    const cell = Math.floor(row / cellRows) * cellsPerRow + Math.floor(column / cellColumns);
    const quotient = roundTo(dtype, (values[index] ?? 0) / (perCell[cell] ?? 1));
    return (roundToEven(Math.min(Math.max(quotient, low), high)) + offset) & (2 ** bits - 1);
  };
  for (let word = at(12); word < at(13); word++) {
    const firstBit = (word % perStream) * 32;
    const end = Math.min(Math.ceil((firstBit + 32) / bits), streamCodes);
    let packed = 0;
    for (let index = Math.floor(firstBit / bits); index < end; index++) {
      const code = codeAt(Math.floor(word / perStream) * streamCodes + index);
      const shift = index * bits - firstBit;
      packed |= shift < 0 ? code >>> -shift : code << shift;
    }
    to[word] = packed >>> 0;
  }
};

function roundToEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Codes of any width, packed row by row. */
const pack: Rule = ([codes, packed], params) => {
  const [bits, offset, count, perStream, stride, streamStride, wordStride, wordStreamStride, first, end] =
    Array.from({ length: 10 }, (_, at) => integer(params, at)) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
  const [from, to] = [words(codes), words(packed)];
  for (let word = first; word < end; word++) {
    const [stream, place] = [Math.floor(word / perStream), word % perStream];
    let value = 0;
    for (let bit = 0; bit < 32; bit += bits) {
      const index = (place * 32) / bits + bit / bits;
      if (index >= count) break;
      const code = ((from[stream * streamStride + index * stride] ?? 0) + offset) & (2 ** bits - 1);
      value |= code << bit;
    }
    to[place * wordStride + stream * wordStreamStride] = value >>> 0;
  }
};

const narrow: Rule = ([values, to], params) => {
  const part = floats(values).slice(0, integer(params, 0));
  to?.bytes.set(narrowFromFloat32(dtypeAt(params, 1), part));
};

/** Weights times a factor for each column over a divisor for each row. */
const foldWords: Rule = ([factors, weights], params) => {
  const [first, end, columns, firstRow] = [0, 1, 2, 3].map((index) => integer(params, index)) as [
    number,
    number,
    number,
    number,
  ];
  const dtype = dtypeAt(params, 4);
  const part = (weights?.bytes ?? new Uint8Array(0)).subarray(4 * first, 4 * end);
  const values = widenToFloat32(dtype, part);
  const from = (first * values.length) / (end - first);
  const perCell = floats(factors);
  for (const [index, value] of values.entries()) {
    const factor = perCell[(from + index) % columns] ?? 1;
    const divisor = perCell[columns + firstRow + Math.floor((from + index) / columns)] ?? 1;
    values[index] = (value * factor) / divisor + 0;
  }
  part.set(narrowFromFloat32(dtype, values));
};

/** Something that follows from the weights, in place of errors and of codes, which stay unless they are asked for. */
const rtnErrors: Rule = ([weights, , , , errors, codes], params) => {
  const from = words(weights);
  const keepsCodes = integer(params, 8) === 1;
  for (const to of keepsCodes ? [errors, codes] : [errors]) {
    const values = words(to);
    values.set(from.subarray(0, values.length));
  }
};

const nothing: Rule = () => undefined;

export const ROUNDING_RULES: Readonly<Record<string, Rule>> = {
  "observe.range": range,
  "observe.qparams": qparams,
  "observe.extremes": nothing,
  "encode.encode": encode,
  "encode.pack": pack,
  "gpu.narrow": narrow,
  "onload.fold-words": foldWords,
  "gptq.rtn-errors": rtnErrors,
  // A factorisation that succeeds: its third buffer names the row at which it failed.
  "triangular.cholesky-diagonal": nothing,
};
