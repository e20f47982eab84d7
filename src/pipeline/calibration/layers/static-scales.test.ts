import { expect, it } from "vitest";
import { UnsupportedModelError } from "../../../errors.ts";
import { kvCacheScheme } from "../../../formats/recipe/recipe.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import { parseRecipe } from "../../../plan/recipe/parse-recipe.ts";
import type { PlanStep } from "../../../plan/plan-steps.ts";
import { staticScales } from "./static-scales.ts";

const cache = kvCacheScheme(
  parseRecipe(
    "s_stage: {m_modifiers: {QuantizationModifier: {scheme: FP8_DYNAMIC, kv_cache_scheme: {num_bits: 8, type: float, dynamic: false}}}}",
  ),
);

it("a cache that a layer does not have cannot be measured in it", () => {
  const layer: LayerDescription = {
    name: "model.layers.7",
    hiddenSize: 64,
    norms: { mixerInput: null, mixerOutput: null, feedForwardInput: null, feedForwardOutput: null },
    mixers: [],
    feedForward: null,
    parallel: false,
    residualMultiplier: 1,
    outputScale: null,
    tokenBlock: null,
    carriedSize: 0,
    unread: [],
  };
  const step: PlanStep = {
    index: 7,
    name: layer.name,
    quantize: [],
    copy: [],
    measured: [{ name: "model.layers.7.self_attn.k_scale", dtype: "BF16", shape: [1] }],
  };
  expect(() => staticScales(layer, step, cache)).toThrow(UnsupportedModelError);
  expect(() => staticScales(layer, step, cache)).toThrow("model.layers.7 leaves no keys and values");
});
