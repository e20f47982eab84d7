import { describe, expect, it } from "vitest";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { weightArgs } from "../../formats/schemes/quantization-args.ts";
import { qparamsOfRanges } from "./reference.ts";

const RANGES = [
  [0, 0],
  [1, 1],
  [-3, 1],
  [0, 1e-30],
  [-2, -1],
  // Its asymmetric scale is 0 in float16.
  [-3 * 2 ** -24, 2 ** -24],
] as const;

function qparams(num_bits: number, symmetric: boolean, dtype: FloatDtype): [number, number][] {
  const low = Float32Array.from(RANGES, ([least]) => Math.min(least, 0));
  const high = Float32Array.from(RANGES, ([, most]) => Math.max(most, 0));
  const { scales, zeroPoints } = qparamsOfRanges({ low, high }, weightArgs({ num_bits, symmetric }), dtype);
  return RANGES.map((_, cell) => [scales[cell] ?? 0, zeroPoints[cell] ?? 0]);
}

const float = Math.fround;

// What compressed-tensors' calculate_qparams gives for these ranges; LLM Compressor's test_min_max.py has those of ones.
describe("scale and zero point of a range", () => {
  it.each([
    [
      4,
      "F32",
      [2 ** -23, float(1 / 7.5), float(3 / 7.5), float(1e-30 / 7.5), float(2 / 7.5), float(0.4 * 2 ** -24)],
    ],
    [
      4,
      "BF16",
      [0.0078125, 0.1337890625, 0.400390625, 1.3327435215159672e-31, 0.267578125, 2.3865140974521637e-8],
    ],
    [4, "F16", [0.0009765625, 0.13330078125, 0.39990234375, 0.0009765625, 0.2666015625, 0.0009765625]],
    [
      8,
      "BF16",
      [
        0.0078125, 0.00787353515625, 0.0235595703125, 7.848164523377986e-33, 0.0157470703125,
        1.4042598195374012e-9,
      ],
    ],
  ] as const)(
    "is, of %d symmetric bits in %s, half of the widest over the largest code",
    (bits, dtype, scales) => {
      expect(qparams(bits, true, dtype)).toEqual(scales.map((scale) => [scale, 0]));
    },
  );

  it.each([
    [
      4,
      "BF16",
      [
        [0.0078125, 0],
        [0.06689453125, -8],
        [0.267578125, 3],
        [6.663717607579836e-32, -8],
        [0.1337890625, 7],
        [1.594889909029007e-8, 3],
      ],
    ],
    [
      4,
      "F16",
      [
        [0.0009765625, 0],
        [0.066650390625, -8],
        [0.2666015625, 3],
        [0.0009765625, 0],
        [0.13330078125, 7],
        [0.0009765625, 7],
      ],
    ],
    [
      8,
      "BF16",
      [
        [0.0078125, 0],
        [0.003936767578125, -128],
        [0.0157470703125, 63],
        [3.924082261688993e-33, -128],
        [0.00787353515625, 126],
        [9.38598532229662e-10, 63],
      ],
    ],
    [
      8,
      "F32",
      [
        [2 ** -23, 0],
        [float(1 / 255), -128],
        [float(4 / 255), 63],
        [float(1e-30 / 255), -128],
        [float(2 / 255), 127],
        [9.349748752995879e-10, 63],
      ],
    ],
  ] as const)(
    "is, of %d asymmetric bits in %s, the whole width over all codes, and where zero lies",
    (bits, dtype, found) => {
      expect(qparams(bits, false, dtype)).toEqual(found);
    },
  );
});
