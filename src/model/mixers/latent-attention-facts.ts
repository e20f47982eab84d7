import { normTensors } from "../norm-tensors.ts";
import { attentionWork } from "./attention-facts.ts";
import type { MixerFacts } from "./mixer-facts.ts";
import type { LatentAttention } from "../mixer-description.ts";

export function latentAttentionFacts(mixer: LatentAttention): MixerFacts {
  const { query, keyValueDown, keyValueUp, keyValueNorm, output } = mixer;
  return {
    inputs: [
      [query.kind === "direct" ? query.linear : query.down, keyValueDown],
      ...(query.kind === "low-rank" ? [[query.up]] : []),
      [keyValueUp],
    ],
    output,
    vectors: [...normTensors(query.kind === "low-rank" ? query.norm : null), ...normTensors(keyValueNorm)],
    // A cache keeps the latent, which has no scales of its own.
    keyValueCache: null,
    work: (tokens) => attentionWork({ ...mixer, slidingWindow: null, chunk: null }, tokens),
  };
}
