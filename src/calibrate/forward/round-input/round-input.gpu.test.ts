import { describe, expect, it } from "vitest";
import { activationArgs } from "../../../formats/schemes/quantization-args.ts";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { referenceRoundInput } from "./reference.ts";
import { roundInput } from "./round-input.ts";

const [ROWS, COLUMNS, STRIDE, OFFSET] = [3, 96, 104, 8];

const KINDS = [
  { name: "int8 a token", args: activationArgs({ num_bits: 8, strategy: "token", dynamic: true }) },
  {
    name: "int8 a token with zero points",
    args: activationArgs({ num_bits: 8, strategy: "token", dynamic: true, symmetric: false }),
  },
  {
    name: "int4 in groups",
    args: activationArgs({ num_bits: 4, strategy: "group", group_size: 32, dynamic: true }),
  },
  {
    name: "e4m3 a token",
    args: activationArgs({ num_bits: 8, type: "float", strategy: "token", dynamic: true }),
  },
  {
    name: "e4m3 by a measured scale",
    args: activationArgs({ num_bits: 8, type: "float", strategy: "tensor", dynamic: false }),
    measured: Math.fround(0.004),
  },
  {
    name: "int8 by a measured scale",
    args: activationArgs({ num_bits: 8, strategy: "tensor", dynamic: false }),
    measured: Math.fround(0.02),
  },
];

describe("a Linear's rounded input", () => {
  it.each(KINDS)("has the bits of the reference: $name", async ({ args, measured = null }) => {
    const x = randomNormal(OFFSET + ROWS * STRIDE, seededRandom(4), 3);
    // A token of zeros, and one that is all of one sign.
    x.fill(0, OFFSET, OFFSET + COLUMNS);
    for (let at = OFFSET + STRIDE; at < OFFSET + STRIDE + COLUMNS; at++) x[at] = Math.abs(x[at] ?? 0);
    using test = await openTestGpu();
    using buffer = await test.upload("x", x);
    using y = await test.empty("y", ROWS * COLUMNS * 4);
    using scale = await test.upload("scale", Float32Array.of(measured ?? 0));
    const given = { buffer, rows: ROWS, columns: COLUMNS, stride: STRIDE, offset: OFFSET };
    const rounding = { args, scale: measured === null ? null : scale };
    const seen = await roundInput(test.gpu, rounding, given, y);
    expect(seen).toEqual({ buffer: y, rows: ROWS, columns: COLUMNS, stride: COLUMNS });
    const size = args.strategy === "group" ? (args.group_size ?? COLUMNS) : COLUMNS;
    const expected: number[] = [];
    for (let row = 0; row < ROWS; row++) {
      for (let column = 0; column < COLUMNS; column += size) {
        const start = OFFSET + row * STRIDE + column;
        expected.push(...referenceRoundInput(args, measured, Array.from(x.subarray(start, start + size))));
      }
    }
    const found = await test.readFloats(y);
    // Zeros of either sign are one value.
    expect([...found].map((value) => value + 0)).toEqual(expected.map((value) => value + 0));
  });
});
