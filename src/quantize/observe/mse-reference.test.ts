import { describe, expect, it } from "vitest";
import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "../../formats/numbers/dtype.ts";
import { type QuantizationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import {
  cellOf,
  codeValue,
  qparamsOfRanges,
  referenceCodes,
  type ReferenceWeight,
} from "../rtn/reference.ts";
import { importanceOf } from "./importance.ts";
import { referenceMseRanges } from "./mse-reference.ts";
import { mseSettings, stepsTaken } from "./mse-settings.ts";
import { powerTable } from "./power-table.ts";

/** arange(24) / 24 as 6 × 4, in float32. */
const WEIGHT: ReferenceWeight = {
  values: Float32Array.from({ length: 24 }, (_, index) => index / 24),
  dtype: "F32",
  rows: 6,
  columns: 4,
};

function meanSquare(weight: ReferenceWeight, args: QuantizationArgs): number {
  const grid = cellGrid(args, weight.rows, weight.columns);
  const settings = mseSettings(args);
  if (!settings) throw new Error("not a searching observer");
  const qparams = qparamsOfRanges(referenceMseRanges(weight, args, grid, settings), args, weight.dtype);
  const codes = referenceCodes(weight, args, grid, qparams);
  const squares = Array.from(weight.values, (value, index) => {
    const cell = cellOf(weight, grid, index);
    const meaning = codeValue(codes[index] ?? 0, qparams.zeroPoints[cell] ?? 0, args);
    return Math.fround(Math.fround(meaning * (qparams.scales[cell] ?? 0)) - value) ** 2;
  });
  return squares.reduce((sum, square) => sum + square, 0) / squares.length;
}

describe("the observer memoryless_mse", () => {
  // Figures of LLM Compressor's tests/llmcompressor/observers/test_mse.py, 8 bits.
  it.each([
    ["tensor", true, 4.8103e-6],
    ["tensor", false, 1.1258e-6],
    ["channel", true, 2.5675e-6],
    ["channel", false, 2.3696e-7],
    ["group", true, 3.1282e-6],
    ["group", false, 1.3794e-7],
    ["block", true, 2.8968e-6],
    ["block", false, 5.6068e-7],
  ] as const)(
    "has LLM Compressor's error for the strategy %s, symmetric: %s",
    (strategy, symmetric, error) => {
      const args = weightArgs({
        strategy,
        symmetric,
        group_size: strategy === "group" ? 2 : null,
        block_structure: strategy === "block" ? [3, 2] : null,
        observer: "mse",
      });
      expect(Math.abs(meanSquare(WEIGHT, args) - error)).toBeLessThan(1e-10);
    },
  );

  it("never makes the error larger than the plain range does", () => {
    const args = weightArgs({ num_bits: 3, strategy: "group", group_size: 4, observer: "memoryless_mse" });
    const searched = meanSquare(WEIGHT, args);
    const oneStep = meanSquare(WEIGHT, { ...args, observer_kwargs: { maxshrink: 0.01 } });
    expect(searched).toBeLessThanOrEqual(oneStep);
  });

  it("takes the defaults of the library", () => {
    const memoryless = mseSettings(weightArgs({ observer: "memoryless_mse" }));
    expect(memoryless).toEqual({ steps: 20, grid: 100, norm: 2.4, patience: 5, expand: 1, weighted: false });
    const weighted = mseSettings(weightArgs({ observer: "imatrix_mse" }));
    expect(weighted).toEqual({ steps: 20, grid: 20, norm: 3, patience: 5, expand: 1, weighted: true });
    expect(mseSettings(weightArgs({ observer: "nvfp4_expanded_mse" }))?.steps).toBe(111);
    expect(mseSettings(weightArgs({ observer: "static_minmax" }))).toBeNull();
  });

  it("refuses a search without end", () => {
    const args = weightArgs({ observer: "mse", observer_kwargs: { grid: 1e6 } });
    expect(() => mseSettings(args)).toThrow(/between 1 and 256/);
  });
});

describe("the observer imatrix_mse", () => {
  // What LLM Compressor's `_grid_search` (observers/imatrix.py) gives for these weights and this importance, and
  // compressed-tensors' scale and zero point for its ranges.
  const values = Float32Array.from(
    { length: 48 },
    (_, i) => (((i * 37) % 101) - 50) / 64 + (i === 5 ? 2 : 0),
  );
  const weight = { values, dtype: "BF16", rows: 3, columns: 16 } as const;
  const squares = Float32Array.of(1, 2, 0.5, 0, 8, 0.1, 1, 1, 3, 0.2, 1, 0.7, 6, 1, 0.4, 2);

  it.each([
    [
      true,
      [0.337890625, 0.09326171875, 0.08349609375, 0.09912109375, 0.08935546875, 0.0849609375],
      [0, 0, 0, 0, 0, 0],
    ],
    [
      false,
      [0.2099609375, 0.0947265625, 0.0947265625, 0.07861328125, 0.08349609375, 0.08740234375],
      [-4, 0, -1, -2, -1, 1],
    ],
  ] as const)("chooses LLM Compressor's ranges, symmetric: %s", (symmetric, scales, zeroPoints) => {
    const args = weightArgs({
      num_bits: 4,
      strategy: "group",
      group_size: 8,
      symmetric,
      observer: "imatrix_mse",
    });
    const settings = mseSettings(args);
    if (!settings) throw new Error("not a searching observer");
    const grid = cellGrid(args, 3, 16);
    const ranges = referenceMseRanges(weight, args, grid, settings, importanceOf(squares));
    const found = qparamsOfRanges(ranges, args, "BF16");
    expect([...found.scales]).toEqual(scales);
    expect([...found.zeroPoints]).toEqual(zeroPoints);
  });

  it("counts all columns alike where nothing but zeros was seen", () => {
    expect(importanceOf(new Float32Array(3))).toEqual(Float32Array.of(1, 1, 1));
    expect(importanceOf(Float32Array.of(1, 0, 2))).toEqual(Float32Array.of(1, 0, 2));
  });
});

describe("the end of the search", () => {
  it("comes after `patience` steps without improvement of any group", () => {
    expect(stepsTaken([true, false, false, false, true], 3)).toBe(4);
    expect(stepsTaken([true, false, false, true, false], 3)).toBe(5);
    expect(stepsTaken([true, false, false, false, false, true], 5)).toBe(6);
  });
});

describe("the table of powers", () => {
  it("rounds the exponent to bfloat16, as torch does", () => {
    const table = powerTable({ dtype: "BF16", norm: 2.4 });
    const bits = numberToBf16(0.0123);
    expect(table[bits]).toBe(numberToBf16(Math.fround(bf16ToNumber(bits) ** 2.40625)));
    expect(table[0]).toBe(0);
  });

  it("has cubes that are rounded twice in bfloat16, once in float16, as torch's are", () => {
    const cube = 1.0356307029724121e-6;
    expect(powerTable({ dtype: "BF16", norm: 3 })[numberToBf16(0.0101318359375)]).toBe(numberToBf16(cube));
    const bits = numberToF16(0.7001953125);
    expect(powerTable({ dtype: "F16", norm: 3 })[bits]).toBe(numberToF16(f16ToNumber(bits) ** 3));
  });
});
