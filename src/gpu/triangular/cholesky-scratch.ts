import type { Gpu } from "../gpu.ts";
import type { LedgerBuffer } from "../memory.ts";

/** Columns of one step; fixed in the kernels by what fits 16 KiB of workgroup memory. */
export const BLOCK = 64;
/**
 * Columns whose outer product is subtracted from all that follows at once: what follows is read and written a quarter as
 * often as with one block, and the product is deep enough to be as fast as others.
 */
export const WIDE = 4 * BLOCK;

/** Scratch of a factorisation of order n. */
export interface CholeskyScratch extends Disposable {
  readonly inverse: LedgerBuffer;
  /** (n, WIDE): the current columns of L. */
  readonly strip: LedgerBuffer;
  readonly failedRow: LedgerBuffer;
}

/** GPU bytes of the scratch for order n. */
export function choleskyScratchBytes(n: number): number {
  return BLOCK * BLOCK * 4 + n * WIDE * 4 + 16;
}

export async function allocateCholeskyScratch(gpu: Gpu, n: number): Promise<CholeskyScratch> {
  const [inverse, strip, failedRow] = await gpu.memory.allocateAll([
    { label: "Cholesky block inverse", bytes: BLOCK * BLOCK * 4 },
    { label: "Cholesky column", bytes: n * WIDE * 4 },
    { label: "Cholesky status", bytes: 16 },
  ]);
  return {
    inverse,
    strip,
    failedRow,
    [Symbol.dispose]() {
      inverse[Symbol.dispose]();
      strip[Symbol.dispose]();
      failedRow[Symbol.dispose]();
    },
  };
}
