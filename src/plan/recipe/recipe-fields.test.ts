// Every field that a recipe may have acts, or is refused: none is taken and forgotten.

import { describe, expect, it } from "vitest";
import { parseRecipe } from "./parse-recipe.ts";
import { argsSchema, gptqModifierSchema, groupSchema, observerNames } from "./recipe-schema.ts";
import { awqModifierSchema, smoothQuantModifierSchema } from "./rewriter-schema.ts";
import { spinQuantSchema } from "./parse-rotation.ts";

/** A value that is not the field's default, in YAML, for each field. */
type Values = Readonly<Record<string, string>>;

const SCHEDULE = { index: "1", group: "a", start: "0", end: "1", update: "1" };
/** What LLM Compressor writes down of itself, or spends its memory and time by, without another result. */
const OF_NO_MATTER = new Set([
  "requires_calibration_data",
  "offload_hessians",
  "batched_quantization",
  "offload_device",
]);

const ARGS: Values = {
  num_bits: "4",
  type: "float",
  symmetric: "false",
  group_size: "32",
  strategy: "channel",
  block_structure: "[128, 128]",
  dynamic: "true",
  actorder: "group",
  scale_dtype: "uint8",
  zp_dtype: "int8",
  observer: "memoryless_mse",
  observer_kwargs: "{maxshrink: 0.3}",
};
const GROUP: Values = {
  targets: '["re:.*mlp.*"]',
  weights: "{num_bits: 4, strategy: channel}",
  input_activations: "{num_bits: 8, strategy: token, dynamic: true}",
  output_activations: "{num_bits: 8}",
  format: "pack-quantized",
};
const OBSERVERS: Values = { weights: "memoryless_mse", input: "static_minmax", output: "minmax" };
const MODIFIER: Values = {
  ...SCHEDULE,
  requires_calibration_data: "true",
  config_groups: "{a: {targets: [Linear], weights: {num_bits: 4, strategy: channel}}}",
  targets: '["re:.*mlp.*"]',
  ignore: "[lm_head]",
  scheme: "W8A8",
  kv_cache_scheme: "{num_bits: 8, type: float}",
  weight_observer: "memoryless_mse",
  input_observer: "static_minmax",
  output_observer: "minmax",
  observer: "{weights: memoryless_mse}",
  bypass_divisibility_checks: "true",
  block_size: "64",
  drift: "0.5",
  dampening_frac: "0.1",
  actorder: "group",
  refine: "{rounds: 2}",
  offload_hessians: "true",
  batched_quantization: "true",
};
const SMOOTH: Values = {
  ...SCHEDULE,
  requires_calibration_data: "true",
  mappings: '[[["re:.*q_proj"], "re:.*input_layernorm"]]',
  ignore: '["re:.*mlp.*"]',
  smoothing_strength: "0.8",
  algorithm: "log_equalization",
  num_calibration_steps: "5",
  calibration_function: "f",
};
const AWQ: Values = {
  ...MODIFIER,
  mappings: '[[["re:.*q_proj"], "re:.*input_layernorm"]]',
  duo_scaling: "false",
  n_grid: "10",
  loss: "block",
};
const SPIN: Values = {
  ...SCHEDULE,
  requires_calibration_data: "true",
  rotations: "[R1]",
  transform_type: "random-hadamard",
  randomize: "true",
  learnable: "true",
  precision: "torch.float32",
  transform_block_size: "64",
  mappings: "{}",
  norm_mappings: "[]",
  transform_config: "{}",
};

const stage = (modifiers: string) => `s_stage: {q_modifiers: {${modifiers}}}`;
const gptq = (more: string) => stage(`GPTQModifier: {${more}}`);
const inGroup = (group: string) => gptq(`config_groups: {a: {${group}}}`);

const PLACES: readonly [string, object, Values, (field: string) => string][] = [
  ["GPTQModifier", gptqModifierSchema.entries, MODIFIER, (field) => gptq(withScheme(field))],
  ["a config group", groupSchema.entries, GROUP, (field) => inGroup(withWeights(field))],
  ["weights", argsSchema.entries, ARGS, (field) => inGroup(`targets: [Linear], weights: {${field}}`)],
  [
    "input activations",
    argsSchema.entries,
    ARGS,
    (field) => inGroup(`targets: [Linear], weights: {strategy: channel}, input_activations: {${field}}`),
  ],
  [
    "the cache's arguments",
    argsSchema.entries,
    ARGS,
    (field) => gptq(`scheme: W8A16, kv_cache_scheme: {${field}}`),
  ],
  ["observer", observerNames.entries, OBSERVERS, (field) => gptq(`scheme: FP8, observer: {${field}}`)],
  [
    "SmoothQuantModifier",
    smoothQuantModifierSchema.entries,
    SMOOTH,
    (field) => stage(`SmoothQuantModifier: {${field}}, GPTQModifier: {scheme: W8A8}`),
  ],
  [
    "AWQModifier",
    awqModifierSchema.entries,
    AWQ,
    (field) => stage(`AWQModifier: {${field}}, QuantizationModifier: {scheme: W8A16}`),
  ],
  [
    "an AWQModifier that quantizes, too",
    awqModifierSchema.entries,
    AWQ,
    (field) => stage(`AWQModifier: {${withScheme(field)}}`),
  ],
  [
    "a mapping",
    { activation_hook_target: null },
    { activation_hook_target: "mlp" },
    (field) =>
      stage(
        `AWQModifier: {mappings: [{smooth_layer: a, balance_layers: [b]${field && `, ${field}`}}]}, QuantizationModifier: {scheme: W8A16}`,
      ),
  ],
  [
    "refine",
    { rounds: null, passes: null },
    { rounds: "3", passes: "5" },
    (field) => gptq(`scheme: W8A16, refine: {${field}}`),
  ],
  [
    "SpinQuantModifier",
    spinQuantSchema.entries,
    SPIN,
    (field) => stage(`SpinQuantModifier: {${field}}, GPTQModifier: {scheme: W8A16}`),
  ],
];

function withScheme(field: string): string {
  return /^(scheme|config_groups):/.test(field) ? field : `${field}${field && ", "}scheme: W8A16`;
}

function withWeights(field: string): string {
  const base = { targets: "[Linear]", weights: "{num_bits: 8, strategy: channel}" };
  const rest = Object.entries(base).filter(([name]) => !field.startsWith(`${name}:`));
  return [...rest.map(([name, value]) => `${name}: ${value}`), ...(field ? [field] : [])].join(", ");
}

/** The recipe that a text means, or the sentence that refuses it. */
function outcome(text: string): string {
  try {
    return JSON.stringify(parseRecipe(text));
  } catch (error) {
    return error instanceof Error && error.name === "RecipeError" ? error.message : String(error);
  }
}

describe.each(PLACES)("a field of %s", (_, entries, values, recipeWith) => {
  it.each(Object.keys(entries).filter((name) => !OF_NO_MATTER.has(name)))(
    "acts or is refused: %s",
    (name) => {
      expect(values).toHaveProperty(name);
      expect(outcome(recipeWith(`${name}: ${values[name]}`))).not.toBe(outcome(recipeWith("")));
    },
  );
});

describe("what would change nothing", () => {
  it.each([
    ["scheme: W8A16, input_observer: static_minmax", /No inputs have static scales/],
    ["scheme: W8A8, observer: {input: static_minmax}", /No inputs have static scales/],
    ["scheme: W8A16, output_observer: minmax", /output activations/],
    ["scheme: W8A16, weight_observer: mse, observer: {weights: mse}", /give only one of them/],
    ["scheme: W8A16, bypass_divisibility_checks: true", /cannot be true here/],
    ["targets: [], kv_cache_scheme: {num_bits: 8}, weight_observer: mse", /No weights are quantized/],
    [
      "config_groups: {a: {targets: [Linear], weights: {strategy: channel, zp_dtype: int8}}}",
      /asymmetric integers alone have them/,
    ],
    [
      "config_groups: {a: {targets: [Linear], weights: {strategy: channel, observer_kwargs: {grid: 7}}}}",
      /takes no options here; leave "grid" out/,
    ],
    [
      "weight_observer: minmax, config_groups: {a: {targets: [Linear], weights: {strategy: channel, observer_kwargs: {grid: 7}}}}",
      /takes no options here; leave "grid" out/,
    ],
    [
      "config_groups: {a: {targets: [Linear], weights: {strategy: channel}, input_activations: {strategy: token, dynamic: true, observer: minmax}}}",
      /Dynamic activations are not observed/,
    ],
  ])("is refused: %s", (modifier, sentence) => {
    expect(outcome(gptq(modifier))).toMatch(sentence);
  });

  it("is an order of columns where codes are rounded to nearest", () => {
    const group = "{targets: [Linear], weights: {strategy: channel, actorder: static}}";
    const text = stage(`QuantizationModifier: {config_groups: {a: ${group}}}`);
    expect(outcome(text)).toMatch(/rounding to nearest has no order/);
  });
});
