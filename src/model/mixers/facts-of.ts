import type { Mixer } from "../decoder-description.ts";
import { attentionFacts } from "./attention-facts.ts";
import type { MixerFacts } from "./mixer-facts.ts";

/** The one place where the description of a mixer is told by its kind. */
export function factsOf(mixer: Mixer): MixerFacts {
  switch (mixer.kind) {
    case "attention":
      return attentionFacts(mixer);
  }
}
