import { normTensors, vectorShape } from "../norm-tensors.ts";
import type { MixerFacts } from "./mixer-facts.ts";
import type { Linear } from "../weight-description.ts";
import type { AttentionInputs, Attention } from "../mixer-description.ts";

function attentionLinears(inputs: AttentionInputs): readonly Linear[] {
  if (inputs.kind === "fused") return [inputs.queryKeyValue];
  if (inputs.kind === "query") return [inputs.query];
  const { query, key, value } = inputs;
  return key === value ? [query, key] : [query, key, value];
}

export function attentionFacts(attention: Attention): MixerFacts {
  const { module, inputs, gate, output, queryNorm, keyNorm, valueNorm, kvHeads, heads, sinks } = attention;
  return {
    inputs: [[...attentionLinears(inputs), ...(gate?.kind === "separate" ? [gate.linear] : [])]],
    output,
    vectors: [
      ...normTensors(queryNorm),
      ...normTensors(keyNorm),
      ...normTensors(valueNorm),
      ...(sinks === null ? [] : [vectorShape(sinks, heads)]),
    ],
    keyValueCache: inputs.kind === "query" ? null : { module, kvHeads },
    work: (tokens) => attentionWork(attention, tokens),
  };
}

type Seen = Pick<Attention, "heads" | "headDim" | "valueDim" | "slidingWindow" | "chunk">;

/** Both products of each head, for each pair of tokens of which one sees the other. */
export function attentionWork(attention: Seen, tokens: number): number {
  const { heads, headDim, valueDim, slidingWindow, chunk } = attention;
  const window = Math.min(slidingWindow ?? tokens, chunk ?? tokens, tokens);
  const pairs = (window * (window + 1)) / 2 + (tokens - window) * window;
  return 2 * (headDim + valueDim) * heads * pairs;
}
