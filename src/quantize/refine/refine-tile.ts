// Refinement of a tile's codes and scales: rounds of a fit of all scales and passes over all codes, block after block. Each
// step lowers the layer's loss ½ tr(ΔW H ΔWᵀ) or is not taken.
//
// The Hessian is not needed: with H = L Lᵀ in the order of elimination, F = (W − Q) L is what GPTQ leaves behind for its
// loss ½ ‖F‖², and the slope of the loss by a block's values is −F L_Bᵀ, its part of the Hessian L_B L_Bᵀ, with L_B the rows
// of the factor that belong to the block's columns. What a block changes goes into F by one product with L_B.

import { fitsScales, REFINE_BLOCK, type RefineSettings } from "../../formats/modifiers/gptq.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { matmul } from "../../gpu/matmul/matmul.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import {
  gatherFactor,
  type RefinedBlock,
  type RefinedTile,
  type RefineStep,
  runStep,
} from "./refine-kernels.ts";

export const REFINE_BUFFER_NAMES = ["walk", "factorRows", "gram", "gradient", "changes"] as const;

/** What a refinement works in, beside the buffers of the method before it. */
export type RefineBuffers = Readonly<Record<(typeof REFINE_BUFFER_NAMES)[number], LedgerBuffer>>;

/** Bytes of each buffer for a tile of `rows` rows; none for no rows and columns. */
export function refineBufferBytes(rows: number, columns: number): Record<keyof RefineBuffers, number> {
  return {
    walk: columns * 16,
    factorRows: REFINE_BLOCK * floatStrideOf(columns) * 4,
    gram: rows > 0 ? REFINE_BLOCK * REFINE_BLOCK * 4 : 0,
    gradient: rows * REFINE_BLOCK * 4,
    changes: rows * REFINE_BLOCK * 4,
  };
}

/** What is refined, in place, with what the factor's product gives of its error. */
export interface RefinedBuffers {
  readonly codes: LedgerBuffer;
  readonly scales: LedgerBuffer;
  readonly zeroPoints: LedgerBuffer;
  /** F = (W − Q) L, (rows, stride) float32, stride the columns up to a multiple of 4. */
  readonly pushed: LedgerBuffer;
}

/** For `walk`: columns group by group, each with its group and its place in the order of elimination. */
export function walkTable(order: Uint32Array, groupOf: Uint32Array): Uint32Array<ArrayBuffer> {
  const columns = Uint32Array.from(order, (_, column) => column);
  columns.sort((a, b) => (groupOf[a] ?? 0) - (groupOf[b] ?? 0) || a - b);
  const places = new Uint32Array(order.length);
  order.forEach((column, place) => {
    places[column] = place;
  });
  const table = new Uint32Array(order.length * 4);
  columns.forEach((column, at) => table.set([column, groupOf[column] ?? 0, places[column] ?? 0, 0], at * 4));
  return table;
}

/** Records all kernels for a tile whose codes, scales and `pushed` stand on the GPU; `pushed` is kept true. */
export async function refineTile(
  gpu: Gpu,
  tile: RefinedTile,
  factor: TriangularMatrix,
  buffers: RefineBuffers & RefinedBuffers,
  { rounds, passes }: RefineSettings,
): Promise<void> {
  const fits: readonly RefineStep[] = fitsScales(tile.args) ? ["fit"] : [];
  for (let round = 0; round < rounds; round++) {
    // The first pass moves a block's codes as soon as its scales are fitted: one walk for both.
    const first: RefineStep = fits.length > 0 ? "descend behind fit" : "descend";
    await walk(gpu, passes > 0 ? [...fits, first] : fits, tile, factor, buffers);
    for (let pass = 1; pass < passes; pass++) await walk(gpu, ["descend"], tile, factor, buffers);
  }
}

/** Floating-point operations for rows of so many columns: each walk goes over all columns with two products of full length. */
export function refineWork(rows: number, columns: number, { rounds, passes }: RefineSettings): number {
  return rounds * Math.max(passes, 1) * 4 * rows * columns ** 2;
}

/** The blocks of a walk: whole groups where scales can be fitted. */
function blocksOf({ columns, args }: RefinedTile): RefinedBlock[] {
  const size = fitsScales(args) ? (args.group_size ?? 1) : REFINE_BLOCK;
  const most = Math.floor(REFINE_BLOCK / size) * size;
  return Array.from({ length: Math.ceil(columns / most) }, (_, index) => ({
    first: index * most,
    width: Math.min(most, columns - index * most),
  }));
}

async function walk(
  gpu: Gpu,
  steps: readonly RefineStep[],
  tile: RefinedTile,
  factor: TriangularMatrix,
  buffers: RefineBuffers & RefinedBuffers,
): Promise<void> {
  const stride = floatStrideOf(tile.columns);
  const { walk: columns, factorRows, gram, gradient, changes, pushed } = buffers;
  const { codes, scales, zeroPoints: zero_points } = buffers;
  const rowsOfFactor = { buffer: factorRows, stride };
  const narrow = { stride: REFINE_BLOCK };
  for (const block of blocksOf(tile)) {
    const sizes = { n: block.width, k: tile.columns };
    await gatherFactor(gpu, factor, block, { columns, gathered: factorRows }, stride);
    await matmul(gpu, {
      ...sizes,
      m: block.width,
      a: rowsOfFactor,
      b: rowsOfFactor,
      c: { buffer: gram, ...narrow },
    });
    const error = { buffer: pushed, stride };
    const slopes = { buffer: gradient, ...narrow };
    await matmul(gpu, { ...sizes, m: tile.rows, a: error, b: rowsOfFactor, c: slopes, alpha: -1 });
    const stepBuffers = { columns, gram, gradient, scales, zero_points, codes, changes };
    for (const step of steps) await runStep(gpu, step, tile, block, stepBuffers);
    await matmul(gpu, {
      m: tile.rows,
      n: tile.columns,
      k: block.width,
      a: { buffer: changes, ...narrow },
      b: rowsOfFactor,
      bTransposed: false,
      c: error,
      alpha: -1,
      accumulate: true,
    });
  }
}

function floatStrideOf(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}
