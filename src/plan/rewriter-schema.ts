// The shape of modifiers that move factors between tensors, as LLM Compressor's classes define it (`SmoothQuantModifier`).

import * as v from "valibot";
import { fields, must, oneOf, oneOrMore, real, schedule, text, texts } from "./recipe-schema.ts";

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
        activation_hook_target: v.nullish(text),
      }),
      v.transform(({ smooth_layer, balance_layers }) => ({ smooth_layer, balance_layers })),
    ),
  ],
  must("a mapping: [[balance layers], smooth layer], or smooth_layer and balance_layers"),
);

const rewriting = {
  ...schedule,
  mappings: v.nullish(
    v.pipe(
      v.array(mapping, must("a list of mappings")),
      v.minLength(1, "is empty: leave it out to take the mappings of the model's family"),
      v.maxLength(MAX_MAPPINGS, "has more entries than any recipe needs"),
    ),
  ),
  ignore: v.nullish(texts),
};

function between(least: number, most: number) {
  const message = must(`a number from ${least} to ${most}`);
  return v.pipe(real, v.minValue(least, message), v.maxValue(most, message));
}

export const smoothQuantModifierSchema = fields("SmoothQuantModifier", {
  ...rewriting,
  smoothing_strength: v.optional(between(0, 1), 0.5),
  algorithm: v.optional(oneOf("an algorithm", ["smoothquant", "log_equalization"]), "smoothquant"),
  // The samples are those of the job.
  num_calibration_steps: v.nullish(v.unknown()),
  calibration_function: v.nullish(v.unknown()),
});
