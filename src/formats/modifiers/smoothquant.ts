import type { RewriterVocabulary } from "./vocabulary.ts";

/** What `SmoothQuantModifier` can be told (`modifiers/transform/smoothquant/base.py`). */
export interface SmoothQuantSettings {
  /** 0 leaves activations as they are, 1 moves all of their range into the weights. */
  readonly smoothing_strength: number;
  readonly algorithm: "smoothquant" | "log_equalization";
}

export const SMOOTHQUANT_SETTINGS: SmoothQuantSettings = {
  smoothing_strength: 0.5,
  algorithm: "smoothquant",
};

export const SMOOTHQUANT: RewriterVocabulary<"SmoothQuantModifier"> = {
  name: "SmoothQuantModifier",
  prefix: "smoothquant-",
  title: "SmoothQuant",
  looksAt: "SmoothQuant looks at how far each channel of the activations reaches on this text.",
  refuses: () => null,
};
