import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel } from "../kernel.ts";
import { heldPanels } from "../panels.ts";
import { struct } from "../struct.ts";
import code from "./diagonal.wgsl?raw";
import type { TriangularMatrix } from "./triangular-matrix.ts";

const WORKGROUP = 64;

export const diagonalKernel = kernel({
  name: "triangular.diagonal",
  code: [code],
  params: struct({ first_row: "u32", rows: "u32", stride: "u32" }),
  bindings: { panel: "read_write", diagonal: "read_write" },
  constants: ["ADD"],
});

/** Copies the diagonal into a vector of n float32. */
export async function readDiagonal(gpu: Gpu, matrix: TriangularMatrix, diagonal: BufferPart): Promise<void> {
  await overDiagonal(gpu, matrix, diagonal, false);
}

/** Adds a vector of n float32 to the diagonal. */
export async function addToDiagonal(gpu: Gpu, matrix: TriangularMatrix, diagonal: BufferPart): Promise<void> {
  await overDiagonal(gpu, matrix, diagonal, true);
}

async function overDiagonal(
  gpu: Gpu,
  matrix: TriangularMatrix,
  diagonal: BufferPart,
  add: boolean,
): Promise<void> {
  for (const { panel, buffer } of heldPanels(matrix)) {
    await gpu.queue.run(diagonalKernel, {
      params: { first_row: panel.firstRow, rows: panel.rows, stride: panel.stride },
      buffers: { panel: buffer, diagonal },
      constants: { ADD: Number(add) },
      workgroups: [Math.ceil(panel.rows / WORKGROUP)],
      work: panel.rows,
    });
  }
}
