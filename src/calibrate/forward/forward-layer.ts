// One decoder layer in float32 on the GPU, over a batch of sequences.

import { invariant } from "../../errors.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { expertsBlock } from "./experts-block.ts";
import { type ForwardPass, hiddenMatrix, type HiddenRows } from "./forward-pass.ts";
import { mixerBlock } from "./mixer-block.ts";
import { mlpBlock } from "./mlp-block.ts";
import { scale } from "./scale/scale.ts";

/**
 * Computes a layer. `hidden`, (tokens, hidden) float32 without gaps, is replaced by the layer's output, or left in an
 * undefined state with `stopAtLastInput`. It lies in a GPU buffer that holds none of the weights: WebGPU lets no
 * dispatch read and write one buffer by two bindings.
 */
export async function forwardLayer(
  pass: ForwardPass,
  layer: LayerDescription,
  hidden: BufferPart,
): Promise<void> {
  const { batch, workspace } = pass;
  invariant(batch.tokens <= workspace.plan.size.tokens, "the batch fits the workspace");
  invariant(batch.longest <= workspace.plan.size.longest, "the sequences fit the rotary tables");
  const states: HiddenRows = {
    hidden,
    hiddenSize: layer.hiddenSize,
    firstRow: 0,
    rows: batch.tokens,
  };
  if (!(await mixerBlock(pass, layer, states))) return;
  const { feedForward, outputScale } = layer;
  if (feedForward?.kind === "mlp") await mlpBlock(pass, layer, feedForward, states);
  if (feedForward?.kind === "experts") await expertsBlock(pass, layer, feedForward, states);
  if (outputScale === null || pass.stopAtLastInput) return;
  await scale(pass.gpu, hiddenMatrix(states), await pass.weights.vector(outputScale));
}
