import { describe, expect, it } from "vitest";
import { e2m1ToNumber, numberToE2m1 } from "./fp4.ts";
import { packStream, unpackStream } from "./packing.ts";

const EXACT = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

describe("the 4-bit float e2m1", () => {
  // compressed-tensors tests/test_quantization/test_utils/test_fp4_utils.py
  it.each([
    [0.25, 0],
    [0.75, 1],
    [1.25, 1],
    [1.75, 2],
    [2.5, 2],
    [3.5, 4],
    [5, 4],
    [0.3, 0.5],
    [0.6, 0.5],
    [0.9, 1],
    [1.3, 1.5],
    [1.8, 2],
    [2.7, 3],
    [4.5, 4],
    [7, 6],
  ])("rounds %d to %d, and its negative alike", (value, expected) => {
    expect(e2m1ToNumber(numberToE2m1(value))).toBe(expected);
    expect(e2m1ToNumber(numberToE2m1(-value))).toBe(-expected);
  });

  it("keeps its own values, and the sign of what rounds to zero", () => {
    expect(EXACT.map((value) => e2m1ToNumber(numberToE2m1(value)))).toEqual(EXACT);
    expect(numberToE2m1(-0.1)).toBe(8);
    expect(numberToE2m1(-0)).toBe(0);
  });

  // compressed-tensors tests/test_compressors/test_fp4_quant.py
  it("packs the even column into the low nibble and keeps −0", () => {
    const row = [-0.5, -6, -0.5, -1.5, -1, 6, 0, -0];
    const codes = row.map((value) => (Object.is(value, -0) ? 8 : numberToE2m1(value)));
    const bytes = new Uint8Array(packStream(codes, 4, 0).buffer);
    expect([...bytes]).toEqual([0xf9, 0xb9, 0x7a, 0x80]);
    const back = Array.from(unpackStream(packStream(codes, 4, 0), 4, 0, 8), e2m1ToNumber);
    expect(back).toEqual(row);
  });
});
