import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { chooseTile, matmul, type MatmulTile, prepareMatmul } from "./matmul.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly aTransposed?: boolean;
  readonly bTransposed?: boolean;
  readonly bDtype?: FloatDtype;
  readonly accumulate?: boolean;
  readonly alpha?: number;
  readonly tile?: MatmulTile;
  readonly lower?: boolean;
}

const padded = (size: number, multiple: number) => Math.ceil(size / multiple) * multiple;

/** Float64 product of the same operands. */
function reference(
  c: Case,
  a: Float32Array,
  b: Float32Array,
  aStride: number,
  bStride: number,
): Float64Array {
  const result = new Float64Array(c.m * c.n);
  for (let i = 0; i < c.m; i++) {
    for (let j = 0; j < c.n; j++) {
      let sum = 0;
      for (let p = 0; p < c.k; p++) {
        const left = c.aTransposed ? a[p * aStride + i] : a[i * aStride + p];
        const right = c.bTransposed === false ? b[p * bStride + j] : b[j * bStride + p];
        sum += (left ?? 0) * (right ?? 0);
      }
      result[i * c.n + j] = sum * (c.alpha ?? 1);
    }
  }
  return result;
}

async function largestError(c: Case): Promise<number> {
  const random = seededRandom(c.m * 1000 + c.n * 10 + c.k);
  const bDtype = c.bDtype ?? "F32";
  const [aRows, aColumns] = c.aTransposed ? [c.k, c.m] : [c.m, c.k];
  const [bRows, bColumns] = c.bTransposed === false ? [c.k, c.n] : [c.n, c.k];
  const aStride = padded(aColumns, 4);
  const bStride = padded(bColumns, 8);
  const cStride = padded(c.n, 4);
  const a = randomNormal(aRows * aStride, random);
  const bBytes = narrowFromFloat32(bDtype, randomNormal(bRows * bStride, random));
  const before = randomNormal(c.m * cStride, random);
  using aBuffer = await test.upload("a", a);
  using bBuffer = await test.upload("b", bBytes);
  using cBuffer = await test.upload("c", before);
  const lowerAt = c.lower ? { row: 0, column: 0 } : undefined;
  const options = {
    ...c,
    a: { buffer: aBuffer, stride: aStride },
    b: { buffer: bBuffer, stride: bStride },
    c: { buffer: cBuffer, stride: cStride },
    ...(lowerAt ? { lowerAt } : {}),
  };
  await matmul(test.gpu, options, c.tile);
  const result = await test.readFloats(cBuffer);
  const expected = reference(c, a, widenToFloat32(bDtype, bBytes), aStride, bStride);
  let largest = 0;
  for (let i = 0; i < c.m; i++) {
    for (let j = 0; j < (c.lower ? Math.min(i + 1, c.n) : c.n); j++) {
      const old = c.accumulate ? (before[i * cStride + j] ?? 0) : 0;
      largest = Math.max(
        largest,
        Math.abs((result[i * cStride + j] ?? 0) - old - (expected[i * c.n + j] ?? 0)),
      );
    }
  }
  return largest;
}

/** Of the form that triangular updates have: a and b lie depth by depth, and results are added below the diagonal. */
const LOWER = { aTransposed: true, bTransposed: false, accumulate: true } as const;

/** What large tiles have to get right as well. Each form is a kernel of its own, which the software adapter compiles for seconds. */
const CASES: readonly Case[] = [
  { m: 64, n: 64, k: 64 },
  { m: 1, n: 1, k: 1 },
  { m: 3, n: 7, k: 5 },
  { m: 65, n: 130, k: 33 },
  { m: 100, n: 96, k: 72, bDtype: "BF16" },
  { m: 33, n: 70, k: 50, bDtype: "F16" },
  { ...LOWER, m: 70, n: 70, k: 41, lower: true, alpha: -0.5 },
];
/** Other forms, which differ from these by one constant or two. */
const MORE_CASES: readonly Case[] = [
  { ...LOWER, m: 70, n: 70, k: 41, lower: true },
  { m: 64, n: 36, k: 80, bDtype: "BF16", accumulate: true },
  { m: 40, n: 72, k: 30, bTransposed: false },
  { m: 30, n: 50, k: 20, alpha: -0.5, accumulate: true },
];

describe.each([
  ["direct", [...CASES, ...MORE_CASES]],
  ["small", [...CASES, ...MORE_CASES]],
  ["large", CASES],
] as const)("matmul in %s tiles", (tile, cases) => {
  it.each(cases)("agrees with float64 for $m x $n x $k", async (c) => {
    // Rounding of a float32 sum of k products of unit normals: a few sqrt(k) units in the last place.
    expect(await largestError({ ...c, tile })).toBeLessThan(4e-7 * c.k + 2e-6);
  });

  it("leaves tiles above the diagonal alone", async () => {
    const before = randomNormal(256 * 256, seededRandom(9));
    using x = await test.upload("x", randomNormal(32 * 256, seededRandom(8)));
    using c = await test.upload("c", before);
    const matrix = { buffer: x, stride: 256 };
    const shape = { ...LOWER, m: 256, n: 256, k: 32 };
    const lowerAt = { row: 0, column: 0 };
    await matmul(test.gpu, { ...shape, a: matrix, b: matrix, c: { buffer: c, stride: 256 }, lowerAt }, tile);
    const result = await test.readFloats(c);
    expect(result.subarray(192, 256)).toEqual(before.subarray(192, 256));
    expect(result[255 * 256]).not.toBe(before[255 * 256]);
  });
});

describe("prepareMatmul", () => {
  it("compiles what the product then takes", async () => {
    using other = await openTestGpu();
    const { gpu } = other;
    gpu.tuning.largeProducts = true;
    using compile = vi.spyOn(gpu.device, "createComputePipelineAsync");
    const form = { ...LOWER, lowerAt: { row: 0, column: 0 } };
    prepareMatmul(gpu, form);
    using x = await other.empty("x", 16 * 128 * 4);
    using c = await other.empty("c", 128 * 128 * 4);
    const a = { buffer: x, stride: 128 };
    await matmul(gpu, { ...form, m: 128, n: 128, k: 16, a, b: a, c: { buffer: c, stride: 128 } });
    expect(compile).toHaveBeenCalledTimes(1);
  });
});

describe("matmul", () => {
  it("gives the same bits with each tile", async () => {
    const [m, n, k] = [150, 140, 37];
    using a = await test.upload("a", randomNormal(m * 40, seededRandom(1)));
    using b = await test.upload("b", randomNormal(n * 40, seededRandom(2)));
    using c = await test.empty("c", m * n * 4);
    const shape = {
      m,
      n,
      k,
      a: { buffer: a, stride: 40 },
      b: { buffer: b, stride: 40 },
      c: { buffer: c, stride: n },
    };
    await matmul(test.gpu, shape, "small");
    const small = await test.readWords(c);
    for (const tile of ["direct", "large"] as const) {
      await matmul(test.gpu, shape, tile);
      expect(await test.readWords(c)).toEqual(small);
    }
  });

  it("keeps to the smallest tile until large ones were measured", () => {
    const gpu = { ...test.gpu, adapter: { ...test.gpu.adapter, software: false } };
    expect(chooseTile(gpu, 4096, 4096)).toBe("small");
    const tuned = { ...gpu, tuning: { ...gpu.tuning, largeProducts: true } };
    expect(chooseTile(tuned, 4096, 4096)).toBe("large");
    expect(chooseTile(tuned, 64, 4096)).toBe("small");
  });

  it("needs no workgroup memory on a processor", () => {
    expect(test.gpu.adapter.software).toBe(true);
    expect(chooseTile(test.gpu, 4096, 4096)).toBe("direct");
  });
});
