// The recipe cards. Adding a preset is adding an entry: name and sentence are for people who do not know the scheme.

export interface PresetCard {
  /** Preset scheme of compressed-tensors: what goes into the recipe. */
  readonly scheme: string;
  readonly name: string;
  readonly sentence: string;
  /** Weights, activations and algorithm, in the field's own words. */
  readonly detail: string;
  /** The preset's group size, or null where it has one scale a channel and takes none. */
  readonly groupSize: number | null;
}

export const DEFAULT_SCHEME = "W4A16";

export const PRESET_CARDS: readonly PresetCard[] = [
  {
    scheme: "W4A16",
    name: "Small",
    sentence: "The smallest result: for running a large model on a small GPU. Costs some quality.",
    detail: "4-bit integer weights, a scale per group of 128 · rounded to nearest",
    groupSize: 128,
  },
  {
    scheme: "W8A16",
    name: "Careful",
    sentence: "Hardly distinguishable from the original, at about half of its size.",
    detail: "8-bit integer weights, a scale per group of 128 · rounded to nearest",
    groupSize: 128,
  },
  {
    scheme: "W8A8",
    name: "Server",
    sentence:
      "Calculates in 8-bit integers: faster when many requests run at once, on NVIDIA GPUs from Turing on.",
    detail: "8-bit integer weights, a scale per channel · activations per token, while running",
    groupSize: null,
  },
  {
    scheme: "FP8_DYNAMIC",
    name: "Server, newer GPUs",
    sentence:
      "Calculates in 8-bit floats: as fast, closer to the original, on GPUs with FP8 (NVIDIA from Ada and Hopper on, AMD MI300).",
    detail: "8-bit float weights, a scale per channel · activations per token, while running",
    groupSize: null,
  },
];

/** The card of a scheme, whatever its case, or null. */
export function findPreset(scheme: string): PresetCard | null {
  return PRESET_CARDS.find((card) => card.scheme === scheme.toUpperCase()) ?? null;
}

export const GROUP_SIZES: readonly number[] = [32, 64, 128, 256];
