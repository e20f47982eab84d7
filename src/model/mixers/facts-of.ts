import { attentionFacts } from "./attention-facts.ts";
import { gatedDeltaNetFacts } from "./gated-delta-net-facts.ts";
import { latentAttentionFacts } from "./latent-attention-facts.ts";
import { mamba2Facts } from "./mamba-2-facts.ts";
import type { MixerFacts } from "./mixer-facts.ts";
import { shortConvolutionFacts } from "./short-convolution-facts.ts";
import type { Mixer } from "../mixer-description.ts";

/** The one place where the description of a mixer is told by its kind. */
export function factsOf(mixer: Mixer): MixerFacts {
  switch (mixer.kind) {
    case "attention":
      return attentionFacts(mixer);
    case "short-convolution":
      return shortConvolutionFacts(mixer);
    case "gated-delta-net":
      return gatedDeltaNetFacts(mixer);
    case "mamba-2":
      return mamba2Facts(mixer);
    case "latent-attention":
      return latentAttentionFacts(mixer);
  }
}
