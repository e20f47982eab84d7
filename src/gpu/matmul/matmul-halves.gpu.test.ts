// Matrix units are rare: the software adapter of the test browser has none. What is promised everywhere is tested everywhere:
// without units a job computes in float32. On an adapter with units (LAYERPRESS_CHROMIUM names another browser) the product
// itself is compared with float64.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { forwardProduct } from "./forward-product.ts";
import { matmul, type MatmulOptions } from "./matmul.ts";
import { matmulHalves } from "./matmul-halves.ts";
import { halvesWorkgroup, hasRoomFor } from "./matrix-shape.ts";
import { openMatrixUnits } from "./open-matrix-units.ts";

let test: TestGpu;
let units: Disposable;
beforeAll(async () => {
  test = await openTestGpu();
  units = await openMatrixUnits(test.gpu, true);
});
afterAll(() => {
  units[Symbol.dispose]();
  test[Symbol.dispose]();
});

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly bDtype: FloatDtype;
  readonly accumulate?: boolean;
  readonly alpha?: number;
  /** Size of a's and b's values. */
  readonly sizes?: readonly [number, number];
}

const CASES: readonly Case[] = [
  { m: 128, n: 128, k: 64, bDtype: "BF16" },
  { m: 65, n: 70, k: 33, bDtype: "BF16" },
  { m: 190, n: 300, k: 160, bDtype: "F16" },
  { m: 150, n: 261, k: 136, bDtype: "F16", accumulate: true, alpha: 0.5 },
  { m: 130, n: 96, k: 200, bDtype: "BF16", sizes: [3e5, 1e-4] },
  { m: 96, n: 130, k: 72, bDtype: "BF16", sizes: [1e-9, 200] },
];

/** Operands, and the product and the sum of magnitudes in float64. */
function operands({ m, n, k, bDtype, alpha = 1, sizes: [sizeA, sizeB] = [1, 1] }: Case) {
  const random = seededRandom(m * 31 + n * 7 + k);
  const stride = Math.ceil(k / 8) * 8;
  const a = randomNormal(m * stride, random, sizeA);
  const bBytes = narrowFromFloat32(bDtype, randomNormal(n * stride, random, sizeB));
  const b = widenToFloat32(bDtype, bBytes);
  const wanted = new Float64Array(m * n);
  let magnitude = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += (a[i * stride + p] ?? 0) * (b[j * stride + p] ?? 0);
      wanted[i * n + j] = alpha * sum;
      magnitude = Math.max(magnitude, Math.abs(alpha * sum));
    }
  }
  return { a, bBytes, stride, wanted, magnitude };
}

/** The largest error relative to the largest result. */
async function relativeError(
  c: Case,
  product: (options: MatmulOptions & { bDtype: FloatDtype }) => Promise<void>,
): Promise<number> {
  const { a, bBytes, stride, wanted, magnitude } = operands(c);
  const cStride = Math.ceil(c.n / 4) * 4;
  const before = new Float32Array(c.m * cStride).fill(c.accumulate ? magnitude / 2 : 0);
  using aBuffer = await test.upload("a", a);
  using bBuffer = await test.upload("b", bBytes);
  using cBuffer = await test.upload("c", before);
  await product({
    ...c,
    a: { buffer: aBuffer, stride },
    b: { buffer: bBuffer, stride },
    c: { buffer: cBuffer, stride: cStride },
  });
  const result = await test.readFloats(cBuffer);
  let worst = 0;
  for (let i = 0; i < c.m; i++) {
    for (let j = 0; j < c.n; j++) {
      const at = i * cStride + j;
      const error = (result[at] ?? 0) - (before[at] ?? 0) - (wanted[i * c.n + j] ?? 0);
      worst = Math.max(worst, Math.abs(error) / magnitude);
    }
  }
  return worst;
}

/** A product in wide tiles, whatever its size, if the adapter and k allow it. */
async function wideProduct(options: MatmulOptions & { bDtype: FloatDtype }): Promise<void> {
  const { gpu } = test;
  const { matrices } = gpu.tuning;
  const { bDtype, k } = options;
  const fits = matrices && hasRoomFor(matrices.shape, gpu.device.limits, true);
  if (!fits || bDtype === "F32" || k % halvesWorkgroup(matrices.shape, true).depth > 0)
    return await forwardProduct(gpu, options);
  await matmulHalves(gpu, matrices, { ...options, bDtype }, true);
}

describe("forward products", () => {
  it("run on matrix units exactly where the adapter has some", () => {
    expect(test.gpu.tuning.matrices?.shape ?? null).toEqual(test.gpu.adapter.matrices);
  });

  it.each(CASES)("agree with float64 for $m x $n x $k in $bDtype", async (c) => {
    // 22 bits of each a, and sums in float32.
    expect(await relativeError(c, async (options) => await forwardProduct(test.gpu, options))).toBeLessThan(
      1e-6,
    );
    expect(await relativeError(c, async (options) => await matmul(test.gpu, options))).toBeLessThan(1e-6);
  });

  it.each(CASES)(
    "agree with float64 in wide tiles where they fit, for $m x $n x $k in $bDtype",
    async (c) => {
      expect(await relativeError(c, async (options) => await wideProduct(options))).toBeLessThan(1e-6);
    },
  );

  it("are computed in float32 where a browser lists matrices and does not compile the product", async () => {
    using other = await openTestGpu();
    // Twelve rows fit no matrix unit.
    const adapter = { ...other.gpu.adapter, matrices: { m: 12, n: 12, k: 12, subgroup: 24 } };
    const gpu = { ...other.gpu, adapter };
    using opened = await openMatrixUnits(gpu, true);
    expect(opened).toBeDefined();
    expect(gpu.tuning.matrices).toBeNull();
    await gpu.queue.idle();
  });

  it("keep what is not finite", async () => {
    using a = await test.upload("a", new Float32Array(128 * 32).fill(1).fill(Number.NaN, 40, 41));
    using b = await test.upload("b", narrowFromFloat32("BF16", new Float32Array(128 * 32).fill(1)));
    using c = await test.empty("c", 128 * 128 * 4);
    const shape = { m: 128, n: 128, k: 32, a: { buffer: a, stride: 32 }, b: { buffer: b, stride: 32 } };
    await forwardProduct(test.gpu, { ...shape, bDtype: "BF16", c: { buffer: c, stride: 128 } });
    const result = await test.readFloats(c);
    expect(result[128]).toBeNaN();
    expect(result[0]).toBe(32);
  });
});
