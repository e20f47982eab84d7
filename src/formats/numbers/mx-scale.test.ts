import { describe, expect, it } from "vitest";
import { bf16ToNumber, type FloatDtype, numberToBf16, roundTo } from "./dtype.ts";
import { e8m0ToNumber, mxScale, numberToE8m0 } from "./mx-scale.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";

/** The 25 numbers of compressed-tensors' test_mxfp4_utils.py, and the powers of two that they round to. */
const NUMBERS = [
  5.687891, 8.291567, 1.540329, 0.315635, 0.965272, 6.94413, 0.073246, 0.451778, 8.571118, 9.856593, 0.040571,
  0.708509, 2.485657, 4.003352, 0.9956, 0.224199, 5.032586, 1.309816, 0.621958, 7.290238, 9.848001, 0.290731,
  1.501562, 0.379829, 5.312081,
];
const POWERS = [
  4, 8, 1, 0.25, 1, 4, 0.0625, 0.5, 8, 8, 0.03125, 0.5, 2, 4, 1, 0.25, 4, 1, 0.5, 8, 8, 0.25, 1, 0.25, 4,
];

describe("microscaling scales", () => {
  it("round to the powers of two of compressed-tensors' test", () => {
    const rounded = NUMBERS.map((value) => mxScale(roundTo("BF16", value), 4, "BF16") * 4);
    expect(rounded).toEqual(POWERS);
  });

  it("round up from 7/4 of a power, less the element's own exponent", () => {
    expect(mxScale(1.75, 4, "F32")).toBe(2 ** -1);
    expect(mxScale(1.7499, 4, "F32")).toBe(2 ** -2);
    expect(mxScale(1.75, 8, "F32")).toBe(2 ** -7);
  });

  it("fall by 8 for e4m3 where they fall by 2 for e2m1", () => {
    const values = randomNormal(2000, seededRandom(1), 0.0576).map((value) =>
      Math.abs(roundTo("BF16", value)),
    );
    for (const amax of values) expect(mxScale(amax, 8, "BF16")).toBe(mxScale(amax, 4, "BF16") / 64);
  });

  // What compressed-tensors gives for groups that are zero or below the normal numbers of their dtype.
  it.each([
    ["BF16", 0, 2 ** -127],
    ["BF16", bf16ToNumber(1), 2 ** -127],
    ["F32", 1e-45, 2 ** -127],
    ["F16", 0, 1],
    ["F16", 767 * 2 ** -24, 1],
    ["F16", 768 * 2 ** -24, 2 ** -16],
    ["F16", 2 ** -14, 2 ** -16],
  ] as const)("of %s groups of at most %d are %d", (dtype: FloatDtype, amax, scale) => {
    expect(mxScale(amax, 4, dtype)).toBe(scale);
  });

  it("are stored as E8M0 bytes and read back", () => {
    for (let byte = 0; byte < 255; byte++) expect(numberToE8m0(e8m0ToNumber(byte))).toBe(byte);
    expect(e8m0ToNumber(127)).toBe(1);
    expect(numberToBf16(e8m0ToNumber(130))).toBe(numberToBf16(8));
  });
});
