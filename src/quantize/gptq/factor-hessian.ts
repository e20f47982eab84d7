// From the accumulated Hessian to the factor that GPTQ walks along: dead columns, damping, act-order, Cholesky. A failed
// factorisation is undone and tried again with ten times the damping, and what was used is reported; nothing falls back in silence.

import { CalibrationError } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { cholesky } from "../../gpu/triangular/cholesky.ts";
import type { CholeskyScratch } from "../../gpu/triangular/cholesky-scratch.ts";
import { undoCholesky } from "../../gpu/triangular/undo-cholesky.ts";
import { addToDiagonal, readDiagonal } from "../../gpu/triangular/diagonal.ts";
import { permuteSymmetric } from "../../gpu/triangular/permute-symmetric.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";

const DAMPING_GROWTH = 10;
/** The anchor's default: where a smaller one failed, the next try starts here. */
const USUAL_DAMPING = 0.01;
/** Parts of a buffer are bound at multiples of this. */
const PART_BYTES = 256;
/** With ten times the mean diagonal added nothing of the Hessian is left that could tell columns apart. */
const MAX_DAMPING = 10;

export interface FactorScratch {
  readonly cholesky: CholeskyScratch;
  /** n float32, for the diagonal and for permutations. */
  readonly vector: LedgerBuffer;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
}

export interface FactorOptions {
  /** As `readHessianDiagonals` gives it. */
  readonly diagonal: Float32Array;
  /** Columns of large activation first (actorder "static" and "group"), else from left to right. */
  readonly byActivation: boolean;
  readonly dampeningFrac: number;
  /** What the Hessian belongs to, for messages. */
  readonly name: string;
}

export interface FactoredHessian {
  /** L, over the Hessian's own buffers. */
  readonly factor: TriangularMatrix;
  /** order[a]: the column of the weight that has place a; the last place is quantized first. */
  readonly order: Uint32Array<ArrayBuffer>;
  /** The diagonal before anything was added to it: Σx² of each column of the weight, times a constant. */
  readonly diagonal: Float32Array;
  /** 1 for columns whose input was always zero. */
  readonly dead: Uint8Array;
  /** Fraction of the mean diagonal that was added at last. */
  readonly dampeningFrac: number;
  readonly attempts: number;
}

/** A factorisation whose first try is recorded. */
export interface Factoring {
  /**
   * Waits for it, and records more tries where it failed.
   * @throws CalibrationError if not even the largest damping makes the Hessian positive definite
   */
  finish(): Promise<FactoredHessian>;
}

/**
 * Begins to factor a Hessian in place. Whoever finishes it may record other work before, but with `scratch.cholesky.failedRow`.
 * @throws CalibrationError if the Hessian is not finite
 */
export async function beginFactoring(
  gpu: Gpu,
  hessian: TriangularMatrix,
  options: FactorOptions,
  scratch: FactorScratch,
): Promise<Factoring> {
  const { diagonal } = options;
  if (!diagonal.every(Number.isFinite)) {
    throw new CalibrationError(
      `The Hessian of ${options.name} has NaN or infinite entries: the activations of this layer overflowed. Check the calibration text and the model's weights; finished layers are kept.`,
    );
  }
  const dead = Uint8Array.from(diagonal, (value) => Number(value === 0));
  const order = eliminationOrder(diagonal, options.byActivation);
  const revived = diagonal.map((value) => value || 1);
  const mean = revived.reduce((sum, value) => sum + value, 0) / revived.length;
  const upload = async (bytes: Uint8Array) => await scratch.uploads.write(bytes, scratch.vector);
  const damp = async (added: Float32Array<ArrayBuffer>) => {
    await upload(new Uint8Array(added.buffer));
    await addToDiagonal(gpu, hessian, scratch.vector);
  };
  const factor = async () => await cholesky(gpu, hessian, scratch.cholesky, scratch.readbacks);
  let dampeningFrac = options.dampeningFrac;
  checkDamping(dampeningFrac, options.name);
  await damp(Float32Array.from(dead, (flag) => flag + dampeningFrac * mean));
  const permutation = { partner: scratch.vector, unused: scratch.cholesky.inverse };
  await permuteSymmetric(gpu, hessian, order, permutation, upload);
  const first = await factor();
  return {
    async finish() {
      let failedRow = await first.failedRow;
      let attempts = 1;
      for (; failedRow !== null; attempts++) {
        // The diagonal has the damping of the try that failed, and the matrix its order.
        const more = Math.max(dampeningFrac * DAMPING_GROWTH, USUAL_DAMPING);
        checkDamping(more, options.name);
        await undoCholesky(gpu, hessian, scratch.cholesky, failedRow);
        await damp(new Float32Array(dead.length).fill((more - dampeningFrac) * mean));
        dampeningFrac = more;
        failedRow = await (await factor()).failedRow;
      }
      return { factor: hessian, order, diagonal, dead, dampeningFrac, attempts };
    },
  };
}

/** @throws CalibrationError if nothing of the Hessian would be left */
function checkDamping(frac: number, name: string): void {
  if (frac <= MAX_DAMPING) return;
  throw new CalibrationError(
    `The Hessian of ${name} could not be factored, not even with ${frac / DAMPING_GROWTH} of its mean diagonal added to it. Use more or more varied calibration text, or a larger dampening_frac.`,
  );
}

/** Diagonals of Hessians before they are factored, in their order, read at once: each reading waits for all that the GPU has to do. */
export async function readHessianDiagonals(
  gpu: Gpu,
  hessians: readonly TriangularMatrix[],
  readbacks: ReadbackRing,
): Promise<Float32Array[]> {
  const places: { readonly offset: number; readonly bytes: number }[] = [];
  let end = 0;
  for (const { layout } of hessians) {
    const bytes = layout.n * 4;
    places.push({ offset: end, bytes });
    end += Math.ceil(bytes / PART_BYTES) * PART_BYTES;
  }
  using all = await gpu.memory.allocate({ label: "diagonals", bytes: end });
  for (const [index, hessian] of hessians.entries()) {
    const place = places[index];
    if (place) await readDiagonal(gpu, hessian, { of: all, ...place });
  }
  const { buffer } = await readbacks.readBytes(all);
  return places.map(({ offset, bytes }) => new Float32Array(buffer.slice(offset, offset + bytes)));
}

/**
 * Columns from the last to be quantized to the first: by falling diagonal (LLM Compressor's actorder "static" and
 * "group"; equal ones in their own order), or from left to right.
 */
export function eliminationOrder(diagonal: Float32Array, byActivation: boolean): Uint32Array<ArrayBuffer> {
  const order = Uint32Array.from(diagonal, (_, column) => column);
  if (byActivation) order.sort((a, b) => (diagonal[b] ?? 0) - (diagonal[a] ?? 0) || a - b);
  return order.toReversed();
}
