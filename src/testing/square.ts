// Square matrices in tests: between a full one in host memory and panels on the GPU.

import { invariant } from "../errors.ts";
import { allocateSquare, layOutSquare, type SquareMatrix } from "../gpu/square-matrix.ts";
import type { TestGpu } from "./open-test-gpu.ts";

/** Small, so that 129 columns take two panels. */
const PANEL_BYTES = 2 ** 16;

/** Uploads (n, n) values; zeros if there are none. */
export async function uploadSquare(
  test: TestGpu,
  values: ArrayLike<number>,
  n: number,
): Promise<SquareMatrix> {
  const layout = layOutSquare(n, PANEL_BYTES);
  const matrix = await allocateSquare(test.gpu.memory, "test square", layout);
  for (const [index, { firstRow, rows, stride }] of layout.panels.entries()) {
    const padded = new Float32Array(rows * stride);
    for (let at = 0; at < rows * n; at++)
      padded[Math.floor(at / n) * stride + (at % n)] = values[firstRow * n + at] ?? 0;
    using staged = await test.upload("panel", padded);
    const target = matrix.buffers[index];
    invariant(target, "a buffer for each panel");
    await test.gpu.queue.copy({ of: staged, offset: 0 }, { of: target, offset: 0 }, staged.bytes);
    await test.gpu.queue.idle();
  }
  return matrix;
}

/** The values, (n, n) row-major. */
export async function readSquare(test: TestGpu, { layout, buffers }: SquareMatrix): Promise<Float32Array> {
  const { n, panels } = layout;
  const values = new Float32Array(n * n);
  for (const [index, { firstRow, rows, stride }] of panels.entries()) {
    const buffer = buffers[index];
    invariant(buffer, "a buffer for each panel");
    const padded = await test.readFloats(buffer);
    for (let row = 0; row < rows; row++)
      values.set(padded.subarray(row * stride, row * stride + n), (firstRow + row) * n);
  }
  return values;
}
