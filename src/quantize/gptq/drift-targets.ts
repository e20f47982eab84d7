// Targets that answer for what earlier layers did to the inputs. A quantized model gives a Linear X where the original gave it
// X̃; with D = (X̃ − X)ᵀ X and H = XᵀX, what makes X give what X̃ gave are the weights W + W D H⁻¹ (GPTAQ, arXiv 2504.02692, in
// closed form). A share of that way is taken, T = W + share · W D H⁻¹, since all of it follows what a text has by chance.
//
// GPTQ walks along L with H = L Lᵀ in the order of elimination, and starts from (T − W) L = share · W D L⁻ᵀ instead of zeros:
// no inverse, and no target is ever written down.

import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { addSquareProduct, type SquareMatrix } from "../../gpu/square-matrix.ts";
import { solveLower } from "../../gpu/triangular/solve-lower.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { gatherColumns, type GptqTile } from "./gptq-kernels.ts";

export interface Drift {
  /** D, by the factor of H: rows are inputs of the original model, columns those of the quantized one. */
  readonly matrix: SquareMatrix;
  /** Above 0, at most 1. */
  readonly share: number;
}

/** (rows, stride) float32 each, stride the columns up to a multiple of 4. */
export interface DriftBuffers {
  /** Becomes (T − W) L. */
  readonly drift: LedgerBuffer;
  /** Used up. */
  readonly pushed: LedgerBuffer;
  readonly errors: LedgerBuffer;
  readonly stride: number;
}

/** Computes (T − W) L of a tile, in the order of elimination. Inputs that the quantized model never has count as they are. */
export async function driftTargets(
  gpu: Gpu,
  tile: GptqTile,
  factor: TriangularMatrix,
  { matrix, share }: Drift,
  { drift, pushed, errors, stride }: DriftBuffers,
): Promise<void> {
  const { rows, columns } = tile;
  await gatherColumns(gpu, tile, errors, stride, "source");
  await gpu.queue.clear(drift, 0, rows * stride * 4);
  const product = { m: rows, a: { buffer: errors, stride }, c: { buffer: drift, stride } };
  await addSquareProduct(gpu, matrix, product, share);
  const moved = { rows, columns, dtype: "F32", weights: drift, order: tile.order, stride } as const;
  await gatherColumns(gpu, moved, pushed, stride, "elimination");
  const at = { stride, offset: 0 };
  await solveLower(gpu, factor, { rows, x: { ...at, buffer: pushed }, y: { ...at, buffer: drift } });
}

/** Operations for rows of so many columns: a product with D, and one with the inverse of the factor, which is half zeros. */
export function driftWork(rows: number, columns: number): number {
  return 3 * rows * columns ** 2;
}
