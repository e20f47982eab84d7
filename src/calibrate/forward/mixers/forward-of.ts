import type { Mixer } from "../../../model/decoder-description.ts";
import { attentionForward } from "./attention/mix-attention.ts";
import type { MixerForward } from "./mixer-forward.ts";

/** The one place where the forward pass tells mixers by their kind. */
export function forwardOf(mixer: Mixer): MixerForward {
  switch (mixer.kind) {
    case "attention":
      return attentionForward(mixer);
  }
}
