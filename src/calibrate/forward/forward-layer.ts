// One decoder layer in float32 on the GPU, over a batch of sequences.

import { invariant } from "../../errors.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { expertsBlock } from "./experts-block.ts";
import { headInput } from "./head/head-input.ts";
import { type ForwardPass, hiddenMatrix, type HiddenRows, isWanted } from "./forward-pass.ts";
import { mixerBlock } from "./mixer-block.ts";
import { mlpBlock } from "./mlp-block.ts";
import { scale } from "./scale/scale.ts";
import { tokenBlock } from "./token-block.ts";

/**
 * Computes a layer. `hidden`, (tokens, hidden + carried) float32 without gaps, is replaced by the layer's output, or left in an
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
  const { hiddenSize, carriedSize, feedForward, outputScale, tokenBlock: block } = layer;
  const stride = hiddenSize + carriedSize;
  const states: HiddenRows = { hidden, hiddenSize, stride, firstRow: 0, rows: batch.tokens };
  const after = block && isWanted(pass, [block.gate, block.projection]) ? block : null;
  // What comes before another block is added to the hidden states.
  const before = after ? { ...pass, stopAtLastInput: false } : pass;
  if (!(await mixerBlock(before, layer, states))) return;
  if (feedForward?.kind === "mlp") await mlpBlock(before, layer, feedForward, states);
  if (feedForward?.kind === "experts") await expertsBlock(before, layer, feedForward, states);
  if (after) await tokenBlock(pass, layer, after, states);
  if (layer.head) await headInput(pass, layer, layer.head, states);
  if (outputScale === null || pass.stopAtLastInput) return;
  await scale(pass.gpu, hiddenMatrix(states), await pass.weights.vector(outputScale));
}
