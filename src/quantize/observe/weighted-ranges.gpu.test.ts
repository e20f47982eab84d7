import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { type QuantizationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { referenceRanges } from "../rtn/reference.ts";
import { searchWeightedRanges } from "./weighted-ranges.ts";
import { referenceWeightedRanges, weightedErrors } from "./weighted-reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const ROWS = 21;
const COLUMNS = 192;
const group = { strategy: "group", group_size: 32 } as const;
const CASES: readonly { label: string; args: QuantizationArgs; dtype: FloatDtype; global?: boolean }[] = [
  { label: "W4A16", args: weightArgs({ num_bits: 4, ...group }), dtype: "BF16" },
  {
    label: "3 bits, asymmetric",
    args: weightArgs({ num_bits: 3, ...group, symmetric: false }),
    dtype: "F16",
  },
  {
    label: "NVFP4A16",
    args: weightArgs({
      num_bits: 4,
      type: "float",
      strategy: "tensor_group",
      group_size: 16,
      scale_dtype: "torch.float8_e4m3fn",
    }),
    dtype: "BF16",
    global: true,
  },
  {
    label: "MXFP4A16",
    args: weightArgs({ num_bits: 4, type: "float", ...group, scale_dtype: "torch.uint8" }),
    dtype: "BF16",
  },
  { label: "4 bits a channel", args: weightArgs({ num_bits: 4, strategy: "channel" }), dtype: "F32" },
];

describe.each(CASES)("weighted ranges of $label", ({ args, dtype, global }) => {
  it("cost what the reference's do", async () => {
    const bytes = narrowFromFloat32(dtype, randomNormal(ROWS * COLUMNS, seededRandom(11), 0.03));
    const weight = { values: widenToFloat32(dtype, bytes), dtype, rows: ROWS, columns: COLUMNS };
    const grid = cellGrid(args, ROWS, COLUMNS);
    const importance = Float32Array.from(
      randomNormal(COLUMNS, seededRandom(12)),
      (value) => value ** 4 + 0.01,
    );
    const largest = weight.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = global ? globalScale(largest, dtype) : 0;
    const observed = referenceRanges(weight, grid);
    const pairs = Float32Array.from({ length: observed.low.length * 2 }, (_, at) => {
      return (at % 2 === 0 ? observed.low : observed.high)[at >> 1] ?? 0;
    });
    using weights = await test.upload("weights", bytes);
    using importances = await test.upload("importance", importance);
    using ranges = await test.upload("ranges", pairs);
    await searchWeightedRanges(test.gpu, {
      weight: { ...weight, weights },
      args,
      grid,
      importance: importances,
      ranges,
      globalScale: scale,
    });
    const found = await test.readFloats(ranges);
    const chosen = {
      low: found.filter((_, at) => at % 2 === 0),
      high: found.filter((_, at) => at % 2 === 1),
    };
    const by = { importance, globalScale: scale };
    const errors = weightedErrors(weight, args, grid, chosen, by);
    const expected = weightedErrors(
      weight,
      args,
      grid,
      referenceWeightedRanges(weight, args, grid, importance, scale),
      by,
    );
    // A quotient whose last bit differs moves a code at times: costs are compared, not shares.
    errors.forEach((error, cell) => expect(error).toBeLessThanOrEqual((expected[cell] ?? 0) * 1.01));
  });
});
