// Matrices in panels in tests: between host memory and the GPU.

import { allocatePanels, heldPanels, type PanelLayout, type PanelMatrix } from "../../gpu/panels.ts";
import type { TestGpu } from "./open-test-gpu.ts";

/** Uploads what `valueAt` says of each row and column that the layout stores. */
export async function uploadPanels<Layout extends PanelLayout>(
  test: TestGpu,
  layout: Layout,
  valueAt: (row: number, column: number) => number,
): Promise<PanelMatrix<Layout>> {
  const matrix = await allocatePanels(test.gpu.memory, "test matrix", layout);
  for (const { panel, buffer } of heldPanels(matrix)) {
    const { firstRow, rows, stride } = panel;
    const values = Float32Array.from({ length: rows * stride }, (_, at) =>
      at % stride < layout.n ? valueAt(firstRow + Math.floor(at / stride), at % stride) : 0,
    );
    using staged = await test.upload("panel", values);
    await test.gpu.queue.copy({ of: staged, offset: 0 }, { of: buffer, offset: 0 }, staged.bytes);
    await test.gpu.queue.idle();
  }
  return matrix;
}

/** Tells of each row that is stored: its first values, by column. */
export async function readPanels(
  test: TestGpu,
  matrix: PanelMatrix<PanelLayout>,
  take: (row: number, values: Float32Array) => void,
): Promise<void> {
  for (const { panel, buffer } of heldPanels(matrix)) {
    const { firstRow, rows, stride } = panel;
    const values = await test.readFloats(buffer, rows * stride);
    for (let row = 0; row < rows; row++)
      take(firstRow + row, values.subarray(row * stride, (row + 1) * stride));
  }
}
