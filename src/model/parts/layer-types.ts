// Which layers see all tokens and which a sliding window: `layer_types`, or what it defaults to.

import * as v from "valibot";
import { MalformedModelError } from "../../errors.ts";
import { count, flag, layerTypes, unsupportedField } from "./config-fields.ts";
import type { LayerType } from "./rotary-parameters.ts";

/** Fields of families whose `use_sliding_window` switches windows on. */
export const windowFields = {
  use_sliding_window: v.optional(flag, false),
  sliding_window: v.optional(v.nullable(count()), 4096),
  layer_types: v.nullish(layerTypes),
};

/**
 * The type of each layer: as config.json lists them, else by `fallback`.
 * @throws MalformedModelError if the list is shorter than the model.
 */
export function resolveLayerTypes(
  listed: readonly LayerType[] | null | undefined,
  layers: number,
  fallback: (index: number) => LayerType,
): readonly LayerType[] {
  if (!listed) return Array.from({ length: layers }, (_, index) => fallback(index));
  if (listed.length < layers) {
    throw new MalformedModelError(
      `config.json: "layer_types" has ${listed.length} entries for ${layers} layers.`,
    );
  }
  return listed;
}

/** @throws UnsupportedModelError if a family that knows no windows by layer lists some. */
export function requireFullAttention(listed: readonly LayerType[] | null | undefined): void {
  if (listed?.includes("sliding_attention")) throw unsupportedField("layer_types", listed);
}

/**
 * The window of a layer, or null if it sees all.
 * @throws UnsupportedModelError if a layer has a window that config.json gives no size, or switches off: transformers ends
 * with an error there, or lets such layers see nothing.
 */
export function windowOf(type: LayerType | undefined, window: number | null | undefined): number | null {
  if (type !== "sliding_attention") return null;
  if (!window) throw unsupportedField("sliding_window", window ?? null);
  return window;
}

/**
 * The one window of all layers.
 * @throws UnsupportedModelError if it is zero, of which transformers makes layers that see nothing.
 */
export function windowOfAll(window: number | null | undefined): number | null {
  if (window === 0) throw unsupportedField("sliding_window", window);
  return window ?? null;
}
