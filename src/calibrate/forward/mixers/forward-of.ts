import { attentionForward } from "./attention/mix-attention.ts";
import { gatedDeltaNetForward } from "./gated-delta-net/mix-gated-delta-net.ts";
import { latentAttentionForward } from "./latent-attention/mix-latent-attention.ts";
import { mamba2Forward } from "./mamba-2/mix-mamba-2.ts";
import type { MixerForward } from "./mixer-forward.ts";
import { shortConvolutionForward } from "./short-convolution/mix-short-convolution.ts";
import type { Mixer } from "../../../model/mixer-description.ts";

/** The one place where the forward pass tells mixers by their kind. */
export function forwardOf(mixer: Mixer): MixerForward {
  switch (mixer.kind) {
    case "attention":
      return attentionForward(mixer);
    case "short-convolution":
      return shortConvolutionForward(mixer);
    case "gated-delta-net":
      return gatedDeltaNetForward(mixer);
    case "mamba-2":
      return mamba2Forward(mixer);
    case "latent-attention":
      return latentAttentionForward(mixer);
  }
}
