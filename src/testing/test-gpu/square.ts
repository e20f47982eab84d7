// Square matrices in tests: between a full one in host memory and panels on the GPU.

import { layOutSquare, type SquareMatrix } from "../../gpu/square-matrix.ts";
import type { TestGpu } from "./open-test-gpu.ts";
import { readPanels, uploadPanels } from "./panels.ts";

/** Small, so that 129 columns take two panels. */
const PANEL_BYTES = 2 ** 16;

/** Uploads (n, n) values; zeros if there are none. */
export async function uploadSquare(
  test: TestGpu,
  values: ArrayLike<number>,
  n: number,
): Promise<SquareMatrix> {
  const layout = layOutSquare(n, PANEL_BYTES);
  return await uploadPanels(test, layout, (row, column) => values[row * n + column] ?? 0);
}

/** The values, (n, n) row-major. */
export async function readSquare(test: TestGpu, matrix: SquareMatrix): Promise<Float32Array> {
  const { n } = matrix.layout;
  const full = new Float32Array(n * n);
  await readPanels(test, matrix, (row, values) => full.set(values.subarray(0, n), row * n));
  return full;
}
