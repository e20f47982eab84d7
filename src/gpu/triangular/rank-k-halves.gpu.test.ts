// Matrix units are rare: the software adapter of the test browser has none, and there Hessians have to stay in float32. On an
// adapter with units (LAYERPRESS_CHROMIUM names another browser) their sums are compared with float64.

import { afterAll, beforeAll, expect, it } from "vitest";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { readTriangle } from "../../testing/test-gpu/triangle.ts";
import { openMatrixUnits } from "../matmul/open-matrix-units.ts";
import { allocatePanels, heldPanels } from "../panels.ts";
import { findLargest, HESSIAN_COLUMNS, rankKHalves, rowsOnUnits } from "./rank-k-halves.ts";
import { layOutTriangle } from "./triangular-matrix.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

it("sums Hessians on matrix units exactly where the adapter has some", async () => {
  using units = await openMatrixUnits(test.gpu, true);
  expect(units).toBeDefined();
  const { matrices } = test.gpu.tuning;
  expect(matrices?.hessians ?? null).toBe(test.gpu.adapter.matrices && true);
  if (!matrices) return;
  const [n, rows] = [300, 64];
  const dense = randomNormal(rows * n, seededRandom(n));
  using x = await test.upload("x", dense);
  using matrix = await allocatePanels(test.gpu.memory, "H", layOutTriangle(n, 200_000));
  const part = { x: { buffer: x, stride: n, offset: 0 }, rows, alpha: 1 };
  const slot = await findLargest(test.gpu, matrices, { ...part, columns: n });
  for (const held of heldPanels(matrix)) await rankKHalves(test.gpu, matrices, { ...part, ...held, slot });
  const found = await readTriangle(test, matrix);
  let worst = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let wanted = 0;
      for (let row = 0; row < rows; row++) wanted += (dense[row * n + i] ?? 0) * (dense[row * n + j] ?? 0);
      worst = Math.max(worst, Math.abs((found[i * n + j] ?? Number.NaN) - wanted));
    }
  }
  // Units may cut sums instead of rounding them; a result's size is that of a diagonal, which counts the rows.
  expect(worst / rows).toBeLessThan(2e-5);
});

it("takes Hessians that fill a GPU, and of those whole tiles of tokens", () => {
  const shape = { m: 16, n: 16, k: 16, subgroup: 32 };
  const units = { shape, hessians: true };
  expect(rowsOnUnits(units, HESSIAN_COLUMNS, 2055)).toBe(2048);
  expect(rowsOnUnits(units, HESSIAN_COLUMNS - 4, 2055)).toBe(0);
  expect(rowsOnUnits({ ...units, hessians: false }, HESSIAN_COLUMNS, 2055)).toBe(0);
});
