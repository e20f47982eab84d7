import { describe, expect, it } from "vitest";
import { Float16Array } from "@petamoriken/float16";
import { seededRandom } from "../testing/random.ts";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16, roundHalfToEven } from "./numbers/dtype.ts";
import { formatBytes, parseBytes } from "./text/format-bytes.ts";
import { e4m3ToNumber, numberToE4m3 } from "./numbers/fp8.ts";

describe("number formats", () => {
  it("rounds to float16 like an independent implementation", () => {
    const random = seededRandom(1);
    const values = Float32Array.from({ length: 20_000 }, () => (random() - 0.5) * 2 ** (40 * random() - 26));
    const bits = new Uint16Array(Float16Array.from(values).buffer);
    expect(Uint16Array.from(values, numberToF16)).toEqual(bits);
    expect(Float32Array.from(bits, f16ToNumber)).toEqual(Float32Array.from(Float16Array.from(values)));
  });

  it("rounds ties to even in bfloat16", () => {
    expect(bf16ToNumber(numberToBf16(1 + 2 ** -8))).toBe(1);
    expect(bf16ToNumber(numberToBf16(1 + 3 * 2 ** -8))).toBe(1 + 2 ** -6);
    expect(bf16ToNumber(numberToBf16(Number.NaN))).toBeNaN();
    expect(bf16ToNumber(numberToBf16(3.4e38))).toBe(Number.POSITIVE_INFINITY);
  });

  it("rounds halves to even like torch.round", () => {
    expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6].map(roundHalfToEven)).toEqual([
      -2, -2, 0, 0, 2, 2, 2, -3,
    ]);
  });

  it("keeps every e4m3 value", () => {
    const codes = Array.from({ length: 256 }, (_, code) => code).filter((code) => (code & 0x7f) !== 0x7f);
    expect(codes.map((code) => numberToE4m3(e4m3ToNumber(code)))).toEqual(codes);
    expect(e4m3ToNumber(0x7e)).toBe(448);
    expect(e4m3ToNumber(1)).toBe(2 ** -9);
  });
});

describe("bytes for people", () => {
  it("are written with three significant digits", () => {
    expect([0, 1023, 1536, 2.5 * 1024 ** 3, 141e9].map(formatBytes)).toEqual([
      "0 bytes",
      "1023 bytes",
      "1.5 KiB",
      "2.5 GiB",
      "131 GiB",
    ]);
  });

  it("are read in the usual spellings and refused in others", () => {
    expect(["2GiB", "2 gb", "2g", "512MB", "4096", "1.5 GiB"].map(parseBytes)).toEqual([
      2 * 1024 ** 3,
      2 * 1024 ** 3,
      2 * 1024 ** 3,
      512 * 1024 ** 2,
      4096,
      1.5 * 1024 ** 3,
    ]);
    expect(["", "lots", "-1", "2 XB"].map(parseBytes)).toEqual([null, null, null, null]);
  });
});
