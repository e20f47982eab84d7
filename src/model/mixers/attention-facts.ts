import type { AttentionInputs, Attention, Linear } from "../decoder-description.ts";
import { normTensors } from "../norm-tensors.ts";
import type { MixerFacts } from "./mixer-facts.ts";

export function attentionLinears(inputs: AttentionInputs): readonly Linear[] {
  return inputs.kind === "fused" ? [inputs.queryKeyValue] : [inputs.query, inputs.key, inputs.value];
}

export function attentionFacts(attention: Attention): MixerFacts {
  const { module, inputs, output, queryNorm, keyNorm, kvHeads } = attention;
  return {
    inputs: [attentionLinears(inputs)],
    output,
    vectors: [queryNorm, keyNorm].flatMap((norm) => (norm ? normTensors(norm) : [])),
    keyValueCache: { module, kvHeads },
    work: (tokens) => attentionWork(attention, tokens),
  };
}

/** 4 · head_dim · heads for each pair of tokens of which one sees the other. */
function attentionWork({ heads, headDim, slidingWindow }: Attention, tokens: number): number {
  const window = Math.min(slidingWindow ?? tokens, tokens);
  const pairs = (window * (window + 1)) / 2 + (tokens - window) * window;
  return 4 * headDim * heads * pairs;
}
