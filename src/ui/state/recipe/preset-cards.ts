// The recommended presets as cards, and the order of all others. Cards speak to people who do not know the schemes;
// titles and sentences of the others come with the fit report.

import type { PresetSize } from "../../../api/compressor-api.ts";
import { readScheme, UNQUANTIZED } from "./read-scheme.ts";

export interface PresetCard {
  /** Preset scheme of compressed-tensors: what goes into the recipe. */
  readonly scheme: string;
  readonly name: string;
  readonly sentence: string;
  /** Weights and activations, in the field's own words. */
  readonly detail: string;
}

export const DEFAULT_SCHEME = "W4A16";

export const PRESET_CARDS: readonly PresetCard[] = [
  {
    scheme: "W4A16",
    name: "Small",
    sentence: "The smallest result: for running a large model on a small GPU. Costs some quality.",
    detail: "4-bit integer weights, a scale per group of 128",
  },
  {
    scheme: "W8A16",
    name: "Careful",
    sentence: "Hardly distinguishable from the original, at about half of its size.",
    detail: "8-bit integer weights, a scale per group of 128",
  },
  {
    scheme: "W8A8",
    name: "Server",
    sentence:
      "Calculates in 8-bit integers: faster when many requests run at once, on NVIDIA GPUs from Turing on.",
    detail: "8-bit integer weights, a scale per channel · activations per token, while running",
  },
  {
    scheme: "FP8_DYNAMIC",
    name: "Server, newer GPUs",
    sentence:
      "Calculates in 8-bit floats: as fast, closer to the original, on GPUs with FP8 (NVIDIA from Ada and Hopper on, AMD MI300).",
    detail: "8-bit float weights, a scale per channel · activations per token, while running",
  },
];

/** Offered for models that are quantized already. */
export const DEQUANTIZE_CARD: PresetCard = {
  scheme: UNQUANTIZED,
  name: "Dequantize",
  sentence:
    "Writes every quantized weight as the plain number that it means: for tools that do not read this format, to fine-tune, or to merge. What was lost stays lost.",
  detail: "as transformers dequantizes the model",
};

export const GROUP_SIZES: readonly number[] = [32, 64, 128, 256];

export interface PresetGroup {
  readonly heading: string;
  readonly presets: readonly PresetSize[];
}

const BIT_RANGES = [
  { heading: "4-bit weights", from: 4, to: 4 },
  { heading: "8-bit weights", from: 8, to: 8 },
  { heading: "5 to 7-bit weights", from: 5, to: 7 },
  { heading: "2 and 3-bit weights", from: 2, to: 3 },
] as const;

export function hasCard(scheme: string): boolean {
  return scheme === UNQUANTIZED || PRESET_CARDS.some((card) => card.scheme === scheme);
}

/** The presets that have no card, by the bits of their weights, in the fit report's order; empty groups are left out. */
export function groupPresets(presets: readonly PresetSize[]): PresetGroup[] {
  const others = presets.filter(({ scheme }) => !hasCard(scheme));
  return BIT_RANGES.map(({ heading, from, to }) => ({
    heading,
    presets: others.filter(({ scheme }) => {
      const bits = readScheme(scheme)?.weightBits ?? 0;
      return from <= bits && bits <= to;
    }),
  })).filter((group) => group.presets.length > 0);
}

/** Presets whose name, title or sentence has every word of the query, whatever its case. */
export function findPresets(presets: readonly PresetSize[], query: string): readonly PresetSize[] {
  const words = query.toLowerCase().split(/\s+/);
  return presets.filter(({ scheme, title, sentence }) => {
    const text = `${scheme} ${title} ${sentence}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
