// What graphs are fed and give back beside hidden states and weights, whatever mixers they have.

/** Names of what every run is given beside its weights and hidden states. */
export const RUN_INPUTS = {
  /** int64 [1]: tokens before the first of this run. */
  position: "position",
  /** int32 [1]: tokens after this run, less one. */
  lastPosition: "last_position",
  /** int32 scalar: tokens after this run. */
  total: "total",
} as const;

/** Where a layer's keys and values of earlier tokens lie: names of a graph's inputs and outputs. */
export interface CacheNames {
  readonly pastKeys: string;
  readonly pastValues: string;
  readonly keys: string;
  readonly values: string;
}

export function cacheNames(layer: number): CacheNames {
  return {
    pastKeys: `past_keys.${layer}`,
    pastValues: `past_values.${layer}`,
    keys: `keys.${layer}`,
    values: `values.${layer}`,
  };
}

/**
 * What a causal mask depends on: how far back tokens see, and chunks that do not see each other. Or "levels": for each pair of
 * tokens the highest bit in which their places differ, -1 where the second comes later, -2 for a token and itself.
 */
export type MaskShape = { readonly slidingWindow: number | null; readonly chunk: number | null } | "levels";

/** Every token sees itself and all before it. */
export const FULL_MASK: MaskShape = { slidingWindow: null, chunk: null };

/** Input of the mask of such a shape, (tokens, tokens). */
export function maskName(shape: MaskShape): string {
  if (shape === "levels") return "mask.levels";
  const { slidingWindow, chunk } = shape;
  return `mask.${slidingWindow ?? "full"}${chunk === null ? "" : `.${chunk}`}`;
}
