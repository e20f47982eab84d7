// Scales of activations that are measured while a layer calibrates: which inputs of a layer need them, and what is written.

import { RecipeError, UnsupportedModelError } from "../../../errors.ts";
import { type FloatDtype, isFloatDtype } from "../../../formats/numbers/dtype.ts";
import { isStaticActivation, type QuantizationArgs } from "../../../formats/schemes/quantization-args.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import { captures, type ExpertCalibration } from "../../../model/layer-linears.ts";
import { factsOf } from "../../../model/mixers/facts-of.ts";
import type { PlanStep } from "../../../plan/plan-steps.ts";

/** A tensor of measured scales. */
export interface StaticScale {
  /** Names of what is observed, one for each value of the tensor; see `inputName` and `cacheNames`. */
  readonly observed: readonly string[];
  readonly args: QuantizationArgs;
  readonly dtype: FloatDtype;
  /** Name up to "_scale": "model.layers.0.mlp.up_proj.input". */
  readonly prefix: string;
  /** Linear whose input a forward pass has to reach for this. */
  readonly reached: string;
}

/** What the inputs of these modules are called while they are observed. */
export function inputName(modules: readonly string[]): string {
  return `the input of ${modules[0]}`;
}

export function cacheNames(attention: string): { readonly k: string; readonly v: string } {
  return { k: `the keys of ${attention}`, v: `the values of ${attention}` };
}

/** What one head's part of keys or values is called. */
export function headName(cacheName: string, head: number): string {
  return `${cacheName}, head ${head}`;
}

/**
 * The measured scales of a layer.
 * @throws RecipeError for a module whose input the forward pass does not come by, or comes by for some tokens only.
 */
export function staticScales(
  layer: LayerDescription,
  step: PlanStep,
  cache: QuantizationArgs | null,
  experts: ExpertCalibration = "all",
): StaticScale[] {
  const inputs = new Map(
    captures(layer, "all").flatMap(({ modules }) => modules.map((module) => [module, inputName(modules)])),
  );
  const scales = step.quantize.flatMap(({ module, scheme, dtype }): StaticScale[] => {
    const args = scheme.input_activations;
    if (!isStaticActivation(args)) return [];
    const observed = inputs.get(module);
    if (observed === undefined) throw notMeasured(module);
    if (experts === "routed" && layer.feedForward?.kind === "experts") throw notForAll(module);
    return [{ observed: [observed], args, dtype, prefix: `${module}.input`, reached: module }];
  });
  return cache ? [...scales, ...cacheScales(layer, step, cache)] : scales;
}

/** @throws RecipeError if a module of a step that no samples come to has measured scales. */
export function checkMeasurable(step: PlanStep): void {
  const unmeasured = step.quantize.find(({ scheme }) => isStaticActivation(scheme.input_activations));
  if (unmeasured) throw notMeasured(unmeasured.module);
}

function notForAll(module: string): RecipeError {
  return new RecipeError(
    `${module} is to have a measured input scale, which experts that see only the tokens routed to them may have no data for. Calibrate all experts (moe_calibrate_all_experts), or choose a scheme whose activations are dynamic.`,
  );
}

function notMeasured(module: string): RecipeError {
  return new RecipeError(
    `${module} is to have a measured input scale, but only inputs of Linears inside of decoder layers, and of a head behind them, are measured. Add it to ignore, or choose a scheme whose activations are dynamic.`,
  );
}

function cacheScales(layer: LayerDescription, step: PlanStep, args: QuantizationArgs): StaticScale[] {
  const facts = layer.mixers.map(factsOf).find(({ keyValueCache }) => keyValueCache !== null);
  return step.measured.flatMap(({ name, dtype, shape: [heads] }): StaticScale[] => {
    const what = /\.([kv])_scale$/.exec(name)?.[1];
    if (!isFloatDtype(dtype) || (what !== "k" && what !== "v")) return [];
    if (!facts?.keyValueCache) throw withoutCache(layer);
    const { module, kvHeads } = facts.keyValueCache;
    const prefix = name.slice(0, -"_scale".length);
    const perHead = args.strategy === "attn_head";
    if (perHead && heads !== kvHeads) {
      throw new UnsupportedModelError(
        `${module} has ${kvHeads} key-value heads, but config.json says ${heads} of the whole model: its cache cannot have a scale a head here.`,
      );
    }
    const cache = cacheNames(module)[what];
    const observed = perHead ? Array.from({ length: kvHeads }, (_, head) => headName(cache, head)) : [cache];
    return [{ observed, args, dtype, prefix, reached: facts.output.module }];
  });
}

function withoutCache({ name }: LayerDescription): UnsupportedModelError {
  return new UnsupportedModelError(
    `${name} leaves no keys and values in a cache, so that kv_cache_scheme has nothing to measure in it. Leave kv_cache_scheme out of the recipe.`,
  );
}
