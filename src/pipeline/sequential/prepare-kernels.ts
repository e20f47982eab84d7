// Compiles ahead what a calibrated job waits for longest. A driver may take half a second for a product's kernel (4.8 s for
// all of a job's, one after the other, with an H200), until the browser has it in its cache; meanwhile the embedding is read.

import { forwardOf } from "../../calibrate/forward/mixers/forward-of.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { isForPair, prepareForwardProduct } from "../../gpu/matmul/forward-product.ts";
import type { Mixer } from "../../model/mixer-description.ts";
import { byQuantizer } from "../../quantize/quantizers.ts";
import { rewriterFor } from "../../quantize/rewriters.ts";
import { type CalibratedLayer, sharesOf } from "../calibration/layers/calibrated-layer.ts";

/** Begins to compile the slowest kernels of these layers, in batches of at most so many tokens; returns at once. */
export function prepareKernels(gpu: Gpu, layers: readonly CalibratedLayer[], tokens: number): void {
  const hasPairs = ({ description: { mixers } }: CalibratedLayer) =>
    mixers.some((mixer) => isPaired(mixer, tokens));
  const weightDtypes = new Set<FloatDtype>();
  for (const { linears, dtypeOf } of layers) {
    for (const { source } of linears) weightDtypes.add(dtypeOf(source.tensor));
  }
  for (const bDtype of weightDtypes) {
    prepareForwardProduct(gpu, { bDtype, accumulate: false }, layers.some(hasPairs));
    prepareForwardProduct(gpu, { bDtype, accumulate: true });
  }
  for (const { description } of layers) {
    for (const mixer of description.mixers) forwardOf(mixer).prepare(gpu);
  }
  const tasks = layers.flatMap(sharesOf).flatMap((share) => share.tasks);
  for (const [quantizer, own] of byQuantizer(tasks)) quantizer.prepare(gpu, own);
  const modifiers = new Set(layers.flatMap(({ rewritings }) => rewritings.map(({ modifier }) => modifier)));
  for (const modifier of modifiers) rewriterFor(modifier).prepare(gpu, { tasks });
}

/** Whether keys and values are made at once. */
function isPaired(mixer: Mixer, tokens: number): boolean {
  return (
    mixer.kind === "attention" &&
    mixer.inputs.kind === "separate" &&
    isForPair({ m: tokens, n: mixer.inputs.key.rows })
  );
}
