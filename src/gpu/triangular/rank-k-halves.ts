// Hessians on matrix units: each float32 as a pair of float16 halves, three products of them for one. 22 bits of a significand
// instead of 24, and sums that units may cut instead of rounding them.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { kernel, spreadWorkgroups } from "../kernel.ts";
import type { LedgerBuffer } from "../memory.ts";
import type { Panel } from "../panels.ts";
import { struct } from "../struct.ts";
import type { MatrixUnits } from "../device/tuning.ts";
import { findLargestMagnitude } from "../matmul/largest-magnitude.ts";
import { lowerTiles, type Matrix } from "../matmul/matmul.ts";
import { kernelsByShape } from "../matmul/matrix-kernels.ts";
import { halvesWorkgroup } from "../matmul/matrix-shape.ts";
import halves from "../matmul/halves.wgsl?raw";
import code from "./rank-k-halves.wgsl?raw";

/**
 * Smaller Hessians have too few tiles of results for a large GPU, which wants several workgroups of a few subgroups beside each
 * other: of 2,048 columns, 512 tokens took 0.18 ms on an H200, and 0.10 in float32.
 */
export const HESSIAN_COLUMNS = 4096;

/** The kernel for a GPU's matrices. */
export const rankKHalvesKernel = kernelsByShape({ name: "gpu.rank-k-halves", code: [code, halves] }, (made) =>
  kernel({
    ...made,
    params: struct({
      m: "u32",
      n: "u32",
      k: "u32",
      x_stride: "u32",
      x_offset: "u32",
      c_stride: "u32",
      row_origin: "u32",
      alpha: "f32",
      tiles_n: "u32",
      first_tile: "u32",
      end_tile: "u32",
      slot: "u32",
    }),
    bindings: { x: "read", largest: "read", c: "read_write" },
    constants: [],
  }),
);

/** Compiles the update before it is wanted. */
export async function compileRankKHalves(gpu: Gpu, { shape }: MatrixUnits): Promise<void> {
  await gpu.queue.compile(rankKHalvesKernel(shape));
}

/** How many of some rows of X matrix units take for a Hessian of n columns; the rest is for float32. */
export function rowsOnUnits(
  { shape, hessians }: Pick<MatrixUnits, "shape" | "hessians">,
  n: number,
  rows: number,
): number {
  if (!hessians || n < HESSIAN_COLUMNS) return 0;
  const { depth } = halvesWorkgroup(shape);
  return Math.floor(rows / depth) * depth;
}

export interface PanelUpdate {
  readonly panel: Panel;
  readonly buffer: LedgerBuffer;
  /** (rows, n) float32. */
  readonly x: Required<Matrix>;
  /** As `rowsOnUnits` gives them. */
  readonly rows: number;
  readonly alpha: number;
  /** Where the largest magnitude of these rows is; see `findLargest`. */
  readonly slot: number;
}

/** Finds the largest magnitude of rows of X, for the updates of all panels. */
export async function findLargest(
  gpu: Gpu,
  units: MatrixUnits,
  { x, rows, columns }: Pick<PanelUpdate, "x" | "rows"> & { readonly columns: number },
): Promise<number> {
  const { largest } = units;
  const slot = units.takeSlot();
  await gpu.queue.clear(largest, slot * 8, 8);
  await findLargestMagnitude(gpu, { ...x, rows, columns, dtype: "F32" }, largest, slot * 2);
  return slot;
}

/** A panel of H += alpha · Xᵀ X, lower triangle only, in dispatches of bounded work. */
export async function rankKHalves(
  gpu: Gpu,
  { shape, largest }: MatrixUnits,
  { panel, buffer, x, rows, alpha, slot }: PanelUpdate,
): Promise<void> {
  const { rows: tile, depth } = halvesWorkgroup(shape);
  invariant(rows % depth === 0, "the rows of X do not end with a tile");
  const [m, n] = [panel.rows, panel.firstRow + panel.rows];
  const tilesN = Math.ceil(n / tile);
  const work = 2 * tile * tile * rows;
  const wanted = (count: number) =>
    lowerTiles({ n, lowerAt: { row: panel.firstRow, column: 0 } }, tile, count);
  const chosen = rankKHalvesKernel(shape);
  for (const { first, end } of gpu.queue.split(chosen, Math.ceil(m / tile) * tilesN, work)) {
    await gpu.queue.run(chosen, {
      params: {
        m,
        n,
        k: rows,
        x_stride: x.stride,
        x_offset: x.offset,
        c_stride: panel.stride,
        row_origin: panel.firstRow,
        alpha,
        tiles_n: tilesN,
        first_tile: first,
        end_tile: end,
        slot,
      },
      buffers: { x: x.buffer, largest, c: buffer },
      constants: {},
      workgroups: spreadWorkgroups(end - first),
      work: (wanted(end) - wanted(first)) * work,
    });
  }
}
