// The shape of modifiers that move factors between tensors, as LLM Compressor's classes define it (`SmoothQuantModifier`,
// `AWQModifier`).

import * as v from "valibot";
import { AWQ_LOSSES } from "../../formats/modifiers/awq.ts";
import {
  absent,
  fields,
  must,
  oneOf,
  oneOrMore,
  quantization,
  real,
  schedule,
  text,
  texts,
} from "./recipe-schema.ts";

const MAX_MAPPINGS = 1000;

/** `[[balance layers], smooth layer]`, as SmoothQuant writes it, or by names, as AWQ does. */
const mapping = v.union(
  [
    v.pipe(
      v.strictTuple([oneOrMore, text]),
      v.transform(([balance_layers, smooth_layer]) => ({ smooth_layer, balance_layers })),
    ),
    v.pipe(
      v.strictObject({
        smooth_layer: text,
        balance_layers: oneOrMore,
        activation_hook_target: absent("Inputs are seen at the balance layers here: leave it out"),
      }),
      v.transform(({ smooth_layer, balance_layers }) => ({ smooth_layer, balance_layers })),
    ),
  ],
  must("a mapping: [[balance layers], smooth layer], or smooth_layer and balance_layers"),
);

const mappings = {
  ...schedule,
  mappings: v.nullish(
    v.pipe(
      v.array(mapping, must("a list of mappings")),
      v.minLength(1, "is empty: leave it out to take the mappings of the model's family"),
      v.maxLength(MAX_MAPPINGS, "has more entries than any recipe needs"),
    ),
  ),
};
const ignore = { ignore: v.nullish(texts) };

function between(least: number, most: number) {
  const message = must(`a number from ${least} to ${most}`);
  return v.pipe(real, v.minValue(least, message), v.maxValue(most, message));
}

export const smoothQuantModifierSchema = fields("SmoothQuantModifier", {
  ...mappings,
  ...ignore,
  smoothing_strength: v.optional(between(0, 1), 0.5),
  algorithm: v.optional(oneOf("an algorithm", ["smoothquant", "log_equalization"]), "smoothquant"),
  num_calibration_steps: absent("All samples of the job are taken: leave it out"),
  calibration_function: absent("The samples are those of the job: leave it out"),
});

/** More than any search is worth, and few enough to be tried. */
const MAX_GRID = 1000;
const gridSize = must(`a whole number from 2 to ${MAX_GRID}`);

const awq = {
  ...mappings,
  duo_scaling: v.optional(v.union([v.boolean(), v.literal("both")], must('true, false or "both"')), true),
  n_grid: v.optional(
    v.pipe(v.number(gridSize), v.integer(gridSize), v.minValue(2, gridSize), v.maxValue(MAX_GRID, gridSize)),
    20,
  ),
  loss: v.nullish(oneOf("a loss", AWQ_LOSSES)),
  // How LLM Compressor spends memory; the result does not depend on it.
  offload_device: v.nullish(v.unknown()),
};

const elsewhere = v.nullish(v.unknown());
/** What `AWQModifier` had while it quantized, too: then it stands for itself and a QuantizationModifier behind it. */
const quantizing = {
  config_groups: elsewhere,
  targets: elsewhere,
  ignore: elsewhere,
  scheme: elsewhere,
  kv_cache_scheme: elsewhere,
  weight_observer: elsewhere,
  input_observer: elsewhere,
  output_observer: elsewhere,
  observer: elsewhere,
  bypass_divisibility_checks: elsewhere,
} satisfies Record<Exclude<keyof typeof quantization, keyof typeof schedule>, unknown>;

/** Fields of `AWQModifier` that belong to what quantizes. */
export const AWQ_QUANTIZING_FIELDS: readonly string[] = Object.keys(quantizing);

export const awqModifierSchema = fields("AWQModifier", { ...awq, ...quantizing });

/** The other half of an `AWQModifier` that quantizes, too. */
export const awqQuantizationSchema = fields("AWQModifier", {
  ...quantization,
  mappings: elsewhere,
  duo_scaling: elsewhere,
  n_grid: elsewhere,
  loss: elsewhere,
  offload_device: elsewhere,
});
