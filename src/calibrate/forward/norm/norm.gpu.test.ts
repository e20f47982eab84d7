import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layerNorm, plainNorm, rmsNorm } from "../../../model/parts/decoder-parts.ts";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { normalize } from "./normalize.ts";
import { referenceNorm } from "./reference.ts";
import type { Norm } from "../../../model/weight-description.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

interface Case {
  readonly norm: Norm;
  readonly rows: number;
  readonly columns: number;
  readonly x: Float32Array<ArrayBuffer>;
  readonly weight: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer> | null;
}

function makeCase(norm: Norm, rows: number, columns: number): Case {
  const random = seededRandom(columns);
  return {
    norm,
    rows,
    columns,
    x: randomNormal(rows * columns, random, 3).map((value) => value + 1),
    weight: randomNormal(norm.weightSize, random),
    bias: norm.bias === null ? null : randomNormal(norm.size, random),
  };
}

/** Columns of a wider buffer, so that strides and offsets count. */
const MARGIN = 12;

function widened({ rows, columns, x }: Case): Float32Array<ArrayBuffer> {
  const wide = new Float32Array(rows * (columns + MARGIN)).fill(7);
  for (let row = 0; row < rows; row++) {
    wide.set(x.subarray(row * columns, (row + 1) * columns), row * (columns + MARGIN) + MARGIN / 2);
  }
  return wide;
}

async function compute(c: Case, inPlace: boolean, accumulate?: { readonly scale: number }) {
  const { rows, columns } = c;
  const matrix = { stride: columns + MARGIN, offset: MARGIN / 2 };
  using x = await test.upload("x", widened(c));
  using y = await test.upload("y", widened(c));
  using weight = await test.upload("weight", c.weight);
  using bias = c.bias ? await test.upload("bias", c.bias) : null;
  await normalize(test.gpu, {
    norm: c.norm,
    weight,
    bias,
    rows,
    columns,
    x: inPlace ? null : { ...matrix, buffer: x },
    y: { ...matrix, buffer: y },
    ...(accumulate ? { accumulate } : {}),
  });
  const whole = await test.readFloats(y);
  const inside = (index: number) => {
    const column = (index % (columns + MARGIN)) - MARGIN / 2;
    return column >= 0 && column < columns;
  };
  expect(whole.filter((_, index) => !inside(index)).every((value) => value === 7)).toBe(true);
  return whole.filter((_, index) => inside(index));
}

const CASES: readonly [string, Case][] = [
  ["RMS over rows", makeCase(rmsNorm("norm", 300, 1e-6), 5, 300)],
  ["RMS with weights stored as w − 1", makeCase(rmsNorm("norm", 64, 1e-6, 1), 70, 64)],
  ["RMS over each head", makeCase(rmsNorm("q_norm", 32, 1e-6), 9, 128)],
  ["RMS over each head without a weight", makeCase(plainNorm(16, 1e-6), 9, 64)],
  ["layer norm with weights stored as w − 1", makeCase(layerNorm("norm", 300, 1e-5, true, 1), 5, 300)],
  ["layer norm with a bias", makeCase(layerNorm("norm", 300, 1e-5, true), 5, 300)],
  ["layer norm without a bias", makeCase(layerNorm("norm", 5, 1e-5, false), 3, 5)],
  [
    "layer norm over each head with weights of its own",
    makeCase({ ...layerNorm("q_norm", 16, 1e-5, false), weightSize: 64 }, 9, 64),
  ],
];

describe.each(CASES)("%s", (_name, c) => {
  const expected = referenceNorm(c.norm, c.x, c.norm.weight === null ? null : c.weight, c.bias);

  it("agrees with float64", async () => {
    expect(relativeError(await compute(c, false), expected)).toBeLessThan(2e-6);
  });

  it("gives the same in place", async () => {
    expect(await compute(c, true)).toEqual(await compute(c, false));
  });

  it("adds a multiple of the result", async () => {
    const sum = expected.map((value, index) => (c.x[index] ?? 0) - 0.5 * value);
    expect(relativeError(await compute(c, false, { scale: -0.5 }), sum)).toBeLessThan(2e-6);
  });
});

describe("norms", () => {
  it("round once, whatever the products and sums on the way", async () => {
    const c = makeCase(rmsNorm("norm", 300, 1e-6), 20, 300);
    const result = await compute(c, false);
    const expected = referenceNorm(c.norm, c.x, c.weight, null);
    const off = expected.map((value, index) => Math.abs((result[index] ?? 0) / value - 1));
    expect(Math.max(...off)).toBeLessThan(1.3 * 2 ** -24);
  });

  it("do not change with the scale of their input", async () => {
    const c = makeCase(rmsNorm("norm", 256, 0), 4, 256);
    const scaled = { ...c, x: c.x.map((value) => value * 1024) };
    expect(relativeError(await compute(scaled, false), await compute(c, false))).toBeLessThan(1e-6);
  });

  it("of a layer have mean 0 and deviation 1", async () => {
    const c = makeCase(layerNorm("norm", 1000, 1e-5, false), 3, 1000);
    const result = await compute({ ...c, weight: c.weight.fill(1) }, false);
    for (let row = 0; row < 3; row++) {
      const values = result.subarray(row * 1000, (row + 1) * 1000);
      expect(values.reduce((sum, value) => sum + value, 0) / 1000).toBeCloseTo(0, 5);
      expect(values.reduce((sum, value) => sum + value * value, 0) / 1000).toBeCloseTo(1, 4);
    }
  });
});
