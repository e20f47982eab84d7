import { afterAll, beforeAll, expect, it } from "vitest";
import { correlatedHessian } from "../../testing/layers/hessian.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { uploadTriangle } from "../../testing/test-gpu/triangle.ts";
import { choleskyOfReversed } from "../../quantize/gptq/reference.ts";
import { solveLower } from "./solve-lower.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const ROWS = 70;

/** y Lᵀ in float64. */
function timesTranspose(y: ArrayLike<number>, l: Float64Array, n: number): Float64Array {
  return Float64Array.from({ length: ROWS * n }, (_, index) => {
    const [row, column] = [Math.floor(index / n), index % n];
    let sum = 0;
    for (let i = 0; i <= column; i++) sum += (y[row * n + i] ?? 0) * (l[column * n + i] ?? 0);
    return sum;
  });
}

/** Several panels, wide runs and blocks, none of which the columns fill. */
it.each([20, 300])("undoes the product with the transpose of a factor of %i columns to 1e-5", async (n) => {
  const order = Uint32Array.from({ length: n }, (_, index) => n - 1 - index);
  const l = choleskyOfReversed(correlatedHessian(n, 2 * n, 0.01), order, n);
  const expected = randomNormal(ROWS * n, seededRandom(n));
  const product = timesTranspose(expected, l, n);
  const stride = Math.ceil(n / 4) * 4 + 4;
  const padded = new Float32Array(8 + ROWS * stride);
  product.forEach((value, index) => {
    padded[8 + Math.floor(index / n) * stride + (index % n)] = value;
  });
  using lower = await uploadTriangle(test, l, n, 128 * 300 * 4);
  using x = await test.upload("x", padded);
  using y = await test.empty("y", ROWS * stride * 4);
  await solveLower(test.gpu, lower, {
    rows: ROWS,
    x: { buffer: x, stride, offset: 8 },
    y: { buffer: y, stride, offset: 0 },
  });
  const solved = await test.readFloats(y);
  let worst = 0;
  expected.forEach((value, index) => {
    const found = solved[Math.floor(index / n) * stride + (index % n)] ?? 0;
    worst = Math.max(worst, Math.abs(found - value));
  });
  expect(worst).toBeLessThan(1e-5);
});
