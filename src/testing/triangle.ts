// Symmetric and triangular matrices in tests: between a full square in host memory and panels on the GPU.

import {
  allocateTriangle,
  layOutTriangle,
  type TriangularMatrix,
} from "../gpu/triangular/triangular-matrix.ts";
import type { TestGpu } from "./open-test-gpu.ts";

/** Uploads the lower triangle of a full (n, n) matrix; what panels store above the diagonal is mirrored. */
export async function uploadTriangle(
  test: TestGpu,
  full: ArrayLike<number>,
  n: number,
  maxPanelBytes = 2 ** 20,
): Promise<TriangularMatrix> {
  const layout = layOutTriangle(n, maxPanelBytes);
  const matrix = await allocateTriangle(test.gpu.memory, "test matrix", layout);
  for (const [index, panel] of layout.panels.entries()) {
    const values = new Float32Array(panel.rows * panel.stride);
    for (let row = 0; row < panel.rows; row++) {
      for (let column = 0; column < panel.firstRow + panel.rows; column++) {
        values[row * panel.stride + column] = full[(panel.firstRow + row) * n + column] ?? 0;
      }
    }
    using staged = await test.upload("panel", values);
    const target = matrix.buffers[index];
    if (!target) throw new Error("no panel");
    await test.gpu.queue.copy({ of: staged, offset: 0 }, { of: target, offset: 0 }, staged.bytes);
    await test.gpu.queue.idle();
  }
  return matrix;
}

/** The stored lower triangle as a full (n, n) matrix with zeros above the diagonal. */
export async function readTriangle(test: TestGpu, matrix: TriangularMatrix): Promise<Float64Array> {
  const { n, panels } = matrix.layout;
  const full = new Float64Array(n * n);
  for (const [index, panel] of panels.entries()) {
    const buffer = matrix.buffers[index];
    if (!buffer) throw new Error("no panel");
    const values = await test.readFloats(buffer, panel.rows * panel.stride);
    for (let row = 0; row < panel.rows; row++) {
      for (let column = 0; column <= panel.firstRow + row; column++) {
        full[(panel.firstRow + row) * n + column] = values[row * panel.stride + column] ?? 0;
      }
    }
  }
  return full;
}
