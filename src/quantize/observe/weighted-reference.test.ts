import { describe, expect, it } from "vitest";
import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { weightArgs } from "../../formats/schemes/quantization-args.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { referenceRanges, type ReferenceWeight } from "../rtn/reference.ts";
import { referenceWeightedRanges, weightedErrors } from "./weighted-reference.ts";

const COLUMNS = 128;
const WEIGHT: ReferenceWeight = {
  values: randomNormal(16 * COLUMNS, seededRandom(5), 0.02),
  dtype: "F32",
  rows: 16,
  columns: COLUMNS,
};
const args = weightArgs({ num_bits: 3, strategy: "group", group_size: 64 });
const grid = cellGrid(args, WEIGHT.rows, COLUMNS);

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

describe("the observer hessian_mse", () => {
  it("costs no group more than its plain range, and all of them less", () => {
    const importance = Float32Array.from({ length: COLUMNS }, (_, column) => (column % 9 === 2 ? 30 : 1));
    const by = { importance, globalScale: 0 };
    const searched = referenceWeightedRanges(WEIGHT, args, grid, importance);
    const found = weightedErrors(WEIGHT, args, grid, searched, by);
    const plain = weightedErrors(WEIGHT, args, grid, referenceRanges(WEIGHT, grid), by);
    // 1 is no share that is tried: 1.03 − 0.03 is, up to rounding.
    found.forEach((error, cell) => expect(error).toBeLessThanOrEqual((plain[cell] ?? 0) * 1.0001));
    expect(sum(found)).toBeLessThan(0.9 * sum(plain));
  });

  it("keeps the large weight of a column that counts, and gives up that of one that does not", () => {
    const values = WEIGHT.values.map((value, index) => (index % COLUMNS === 7 ? 0.12 : value));
    const weight = { ...WEIGHT, values };
    const reach = (counts: number) => {
      const importance = Float32Array.from({ length: COLUMNS }, (_, column) => (column === 7 ? counts : 1));
      return referenceWeightedRanges(weight, args, grid, importance).high[0] ?? 0;
    };
    expect(reach(1000)).toBeGreaterThan(0.11);
    expect(reach(0.001)).toBeLessThan(0.08);
  });
});
