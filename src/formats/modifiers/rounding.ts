import type { QuantizerVocabulary } from "./vocabulary.ts";

export const ROUNDING: QuantizerVocabulary<"QuantizationModifier"> = {
  name: "QuantizationModifier",
  prefix: "",
  title: "Round to nearest",
  sentence: "Every weight takes the closest code. Fast, and needs no text.",
  calibrates: false,
  ordersColumns: false,
  refuses: () => null,
};
