// From the accumulated Hessian to the factor that GPTQ walks along: dead columns, damping, act-order, Cholesky. A failed
// factorisation is undone and tried again with ten times the damping, and what was used is reported; nothing falls back in silence.

import { CalibrationError } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import { cholesky, type CholeskyScratch, undoCholesky } from "../../gpu/triangular/cholesky.ts";
import { addToDiagonal, readDiagonal } from "../../gpu/triangular/diagonal.ts";
import { permuteSymmetric } from "../../gpu/triangular/permute-symmetric.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";

const DAMPING_GROWTH = 10;
/** The anchor's default: where a smaller one failed, the next try starts here. */
const USUAL_DAMPING = 0.01;
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
  /** As `readHessianDiagonal` gives it. */
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

/**
 * Factors a Hessian in place.
 * @throws CalibrationError if the Hessian is not finite, or not even the largest damping makes it positive definite.
 */
export async function factorHessian(
  gpu: Gpu,
  hessian: TriangularMatrix,
  options: FactorOptions,
  scratch: FactorScratch,
): Promise<FactoredHessian> {
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
  let dampeningFrac = options.dampeningFrac;
  let added = Float32Array.from(dead, (flag) => flag + dampeningFrac * mean);
  for (let attempt = 1; dampeningFrac <= MAX_DAMPING; attempt++) {
    await upload(new Uint8Array(added.buffer));
    await addToDiagonal(gpu, hessian, scratch.vector);
    if (attempt === 1) await permuteSymmetric(gpu, hessian, order, scratch.vector, upload);
    const failedRow = await cholesky(gpu, hessian, scratch.cholesky, scratch.readbacks);
    if (failedRow === null) {
      return { factor: hessian, order, diagonal, dead, dampeningFrac, attempts: attempt };
    }
    await undoCholesky(gpu, hessian, scratch.cholesky, failedRow);
    // The diagonal has the damping of the try that failed, and the matrix its order.
    const more = Math.max(dampeningFrac * DAMPING_GROWTH, USUAL_DAMPING);
    added = new Float32Array(dead.length).fill((more - dampeningFrac) * mean);
    dampeningFrac = more;
  }
  throw new CalibrationError(
    `The Hessian of ${options.name} could not be factored, not even with ${dampeningFrac / DAMPING_GROWTH} of its mean diagonal added to it. Use more or more varied calibration text, or a larger dampening_frac.`,
  );
}

/** The diagonal of a Hessian before it is factored. Those of all Hessians are read before the GPU has other work to do. */
export async function readHessianDiagonal(
  gpu: Gpu,
  hessian: TriangularMatrix,
  { vector, readbacks }: Pick<FactorScratch, "vector" | "readbacks">,
): Promise<Float32Array> {
  await readDiagonal(gpu, hessian, vector);
  return new Float32Array((await readbacks.readBytes(vector, 0, hessian.layout.n * 4)).buffer);
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
