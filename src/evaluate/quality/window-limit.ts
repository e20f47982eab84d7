// How long a window may be, so that what onnxruntime keeps between a layer's operators stays within a part of the budget:
// its buffers are in no ledger.

import { layerLinears } from "../../model/layer-linears.ts";
import type { DecoderDescription, LayerDescription } from "../../model/decoder-description.ts";
import { mixersOf } from "../graph/mixers/nodes-of.ts";

/** Half is left to weights, a quarter to hidden states. */
const BUDGET_SHARE = 1 / 4;
/** Hidden states that live side by side in a layer: residual, norms, rotated and plain queries, keys and values. */
const HIDDEN_COPIES = 8;
/** Values of a Linear's output that live side by side: a gate, its activation, their product. */
const INNER_COPIES = 3;
/** Scores of mixers that keep one for each pair of tokens: scaled, masked, after the softmax. */
const SCORE_COPIES = 3;

/** The longest window of tokens whose runs stay within the budget, by an estimate that leans to the safe side. */
export function longestWindow({ layers, hiddenSize }: DecoderDescription, budgetBytes: number): number {
  const bytes = budgetBytes * BUDGET_SHARE;
  return Math.min(...layers.map((layer) => longestIn(layer, hiddenSize, bytes / 4)));
}

/** Solves linear · n + quadratic · n² ≤ values for n. */
function longestIn(layer: LayerDescription, hiddenSize: number, values: number): number {
  const widest = Math.max(...layerLinears(layer).map(({ rows }) => rows));
  const linear = HIDDEN_COPIES * hiddenSize + INNER_COPIES * widest;
  const mixers = mixersOf([layer]);
  const quadratic = SCORE_COPIES * Math.max(0, ...mixers.map(({ scores }) => scores));
  const longest =
    quadratic === 0
      ? values / linear
      : (Math.sqrt(linear ** 2 + 4 * quadratic * values) - linear) / (2 * quadratic);
  return Math.max(2, Math.floor(Math.min(longest, ...mixers.map(({ maxTokens }) => maxTokens))));
}
