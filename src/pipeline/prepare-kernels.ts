// Compiles ahead what a calibrated job waits for longest. A driver may take half a second for a product's kernel (4.8 s for
// all of a job's, one after the other, with an H200), until the browser has it in its cache; meanwhile the embedding is read.

import { prepareAttention } from "../calibrate/forward/attention/attend.ts";
import type { FloatDtype } from "../formats/dtype.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { prepareMatmul } from "../gpu/matmul/matmul.ts";
import { choleskyDiagonalKernel } from "../gpu/triangular/cholesky.ts";
import { qparamsKernel } from "../quantize/observe/observe-weight.ts";
import { walkKernel } from "../quantize/gptq/gptq-kernels.ts";
import type { CalibratedLayer } from "./calibration-memory.ts";

/** Begins to compile the slowest kernels of these layers; returns at once. */
export function prepareKernels(gpu: Gpu, layers: readonly CalibratedLayer[]): void {
  const lowerAt = { row: 0, column: 0 };
  const weightDtypes = new Set<FloatDtype>();
  for (const { linears, dtypeOf } of layers) {
    for (const { source } of linears) weightDtypes.add(dtypeOf(source.tensor));
  }
  for (const bDtype of weightDtypes) {
    prepareMatmul(gpu, { bDtype });
    prepareMatmul(gpu, { bDtype, accumulate: true });
  }
  for (const headDim of new Set(layers.map(({ description }) => description.attention.headDim))) {
    prepareAttention(gpu, { headDim });
  }
  if (layers.every(({ tasks }) => tasks.length === 0)) return;
  prepareMatmul(gpu, { aTransposed: true, bTransposed: false, accumulate: true, lowerAt }); // Hessians
  prepareMatmul(gpu, { accumulate: true, lowerAt }); // Cholesky
  prepareMatmul(gpu, { bTransposed: false, accumulate: true }); // GPTQ
  for (const kernel of [choleskyDiagonalKernel, qparamsKernel, walkKernel]) gpu.queue.prepare(kernel);
}
