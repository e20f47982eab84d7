// Compiles ahead what a calibrated job waits for longest. A driver may take half a second for a product's kernel (4.8 s for
// all of a job's, one after the other, with an H200), until the browser has it in its cache; meanwhile the embedding is read.

import { prepareAttention } from "../../calibrate/forward/attention/attend.ts";
import type { FloatDtype } from "../../formats/dtype.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { prepareForwardProduct } from "../../gpu/matmul/forward-product.ts";
import { prepareMatmul } from "../../gpu/matmul/matmul.ts";
import type { Kernel } from "../../gpu/kernel.ts";
import { narrowKernel } from "../../gpu/narrow.ts";
import { choleskyDiagonalKernel } from "../../gpu/triangular/cholesky.ts";
import { qparamsKernel, rangeKernel } from "../../quantize/observe/observe-weight.ts";
import { dequantizeKernel, rtnErrorsKernel, walkKernel } from "../../quantize/gptq/gptq-kernels.ts";
import type { CalibratedLayer } from "../calibration/calibrated-layer.ts";

/** Those of more than 40 ms. */
const GPTQ_KERNELS: readonly Kernel[] = [
  choleskyDiagonalKernel,
  rangeKernel,
  qparamsKernel,
  walkKernel,
  dequantizeKernel,
  rtnErrorsKernel,
  narrowKernel,
];

/** Begins to compile the slowest kernels of these layers; returns at once. */
export function prepareKernels(gpu: Gpu, layers: readonly CalibratedLayer[]): void {
  const lowerAt = { row: 0, column: 0 };
  const weightDtypes = new Set<FloatDtype>();
  for (const { linears, dtypeOf } of layers) {
    for (const { source } of linears) weightDtypes.add(dtypeOf(source.tensor));
  }
  for (const bDtype of weightDtypes) {
    prepareForwardProduct(gpu, { bDtype, accumulate: false });
    prepareForwardProduct(gpu, { bDtype, accumulate: true });
  }
  for (const headDim of new Set(layers.map(({ description }) => description.attention.headDim))) {
    prepareAttention(gpu, { headDim });
  }
  if (layers.every(({ tasks }) => tasks.length === 0)) return;
  prepareMatmul(gpu, { aTransposed: true, bTransposed: false, accumulate: true, lowerAt }); // Hessians
  // Cholesky's wide products and its narrow ones
  prepareMatmul(gpu, { accumulate: true, lowerAt });
  prepareMatmul(gpu, { accumulate: true, lowerAt }, "small");
  prepareMatmul(gpu, { bTransposed: false, accumulate: true }); // GPTQ
  for (const kernel of GPTQ_KERNELS) gpu.queue.prepare(kernel);
}
