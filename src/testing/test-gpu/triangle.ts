// Symmetric and triangular matrices in tests: between a full square in host memory and panels on the GPU.

import { layOutTriangle, type TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import type { TestGpu } from "./open-test-gpu.ts";
import { readPanels, uploadPanels } from "./panels.ts";

/** Uploads the lower triangle of a full (n, n) matrix; what panels store above the diagonal is mirrored. */
export async function uploadTriangle(
  test: TestGpu,
  full: ArrayLike<number>,
  n: number,
  maxPanelBytes = 2 ** 20,
): Promise<TriangularMatrix> {
  const layout = layOutTriangle(n, maxPanelBytes);
  return await uploadPanels(test, layout, (row, column) => full[row * n + column] ?? 0);
}

/** The stored lower triangle as a full (n, n) matrix with zeros above the diagonal. */
export async function readTriangle(test: TestGpu, matrix: TriangularMatrix): Promise<Float64Array> {
  const { n } = matrix.layout;
  const full = new Float64Array(n * n);
  await readPanels(test, matrix, (row, values) => full.set(values.subarray(0, row + 1), row * n));
  return full;
}
