import { afterAll, beforeAll, expect, it } from "vitest";
import { narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { forwardProduct, productInParts } from "./forward-product.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const [M, N, MARGIN] = [40, 48, 8];

/** Mean square of what the product is off float64, where c holds 1 before. */
async function meanSquare(product: typeof forwardProduct, k: number, accumulate: boolean): Promise<number> {
  const random = seededRandom(k);
  const stride = k + MARGIN;
  const a = randomNormal(M * stride, random);
  const bytes = narrowFromFloat32("BF16", randomNormal(N * stride, random));
  const b = widenToFloat32("BF16", bytes);
  using left = await test.upload("a", a);
  using right = await test.upload("b", bytes);
  using c = await test.upload("c", new Float32Array(M * N).fill(1));
  await product(test.gpu, {
    m: M,
    n: N,
    k,
    a: { buffer: left, stride, offset: MARGIN },
    b: { buffer: right, stride, offset: MARGIN },
    bDtype: "BF16",
    c: { buffer: c, stride: N },
    alpha: 0.5,
    accumulate,
  });
  const result = await test.readFloats(c);
  const squares = result.map((value, index) => {
    const [row, column] = [Math.floor(index / N) * stride + MARGIN, (index % N) * stride + MARGIN];
    let sum = 0;
    for (let at = 0; at < k; at++) sum += (a[row + at] ?? 0) * (b[column + at] ?? 0);
    return (value - (accumulate ? 1 : 0) - 0.5 * sum) ** 2;
  });
  return squares.reduce((sum, square) => sum + square, 0) / squares.length;
}

it.each([
  [1024, 0.6],
  [72, 0.6],
  // One part alone.
  [8, 1],
])("rounds less in parts, and is the same product: %i terms", async (k, share) => {
  const whole = await meanSquare(forwardProduct, k, false);
  expect(await meanSquare(productInParts, k, false)).toBeLessThanOrEqual(share * whole);
  expect(await meanSquare(productInParts, k, true)).toBeLessThan((2e-7 * k) ** 2);
});
