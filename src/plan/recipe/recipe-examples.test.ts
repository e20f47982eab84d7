// Recipes of the kinds that LLM Compressor's examples have, each against the plan that it must lead to: what every Linear of
// a small mixture of experts is stored as.

import { describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { kvCacheScheme, needsCalibration } from "../../formats/recipe/recipe.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { parseRecipe } from "./parse-recipe.ts";
import { planSteps } from "../plan-steps.ts";
import type { SourceTensor } from "../checkpoint/read-headers.ts";

const LAYER = "model.layers.0";
const SHAPES = {
  "model.embed_tokens.weight": [256, 128],
  [`${LAYER}.self_attn.q_proj.weight`]: [128, 128],
  [`${LAYER}.self_attn.k_proj.weight`]: [128, 128],
  [`${LAYER}.self_attn.v_proj.weight`]: [128, 128],
  [`${LAYER}.self_attn.o_proj.weight`]: [128, 128],
  [`${LAYER}.mlp.gate.weight`]: [4, 128],
  [`${LAYER}.mlp.experts.0.gate_proj.weight`]: [128, 128],
  [`${LAYER}.mlp.experts.0.up_proj.weight`]: [128, 128],
  [`${LAYER}.mlp.experts.0.down_proj.weight`]: [128, 128],
  "model.visual.blocks.0.mlp.fc1.weight": [128, 128],
  "lm_head.weight": [256, 128],
};

function model(): SourceTensor[] {
  return Object.entries(SHAPES).map(([name, shape]) => {
    const dtype = "BF16";
    return {
      name,
      dtype,
      shape,
      start: 0,
      end: tensorBytes({ name, dtype, shape }),
      file: "model.safetensors",
    };
  });
}

/** What becomes of each Linear: "W4 group pack-quantized GPTQ", or "-" if it stays. */
function outcome(yaml: string): Record<string, string> {
  const classes = linearClasses({ model_type: "qwen3_vl_moe" });
  const plan = planSteps(model(), parseRecipe(yaml), { classes });
  const tasks = plan.steps.flatMap(({ quantize }) => quantize);
  const quantized = tasks.map(({ module, weights, format, modifier }) => {
    const algorithm = modifier.name === "GPTQModifier" ? "GPTQ" : "RTN";
    return [module, `${weights.num_bits} ${weights.strategy} ${format} ${algorithm}`] as const;
  });
  return Object.fromEntries([...quantized, ...plan.ignored.map((module) => [module, "-"] as const)]);
}

const ALWAYS = { [`${LAYER}.mlp.gate`]: "-", "model.visual.blocks.0.mlp.fc1": "-", lm_head: "-" };

function everywhere(what: string): Record<string, string> {
  return { ...attention(what), ...experts(what), ...ALWAYS };
}

function attention(what: string): Record<string, string> {
  return Object.fromEntries(["q", "k", "v", "o"].map((part) => [`${LAYER}.self_attn.${part}_proj`, what]));
}

function experts(what: string): Record<string, string> {
  return Object.fromEntries(
    ["gate", "up", "down"].map((part) => [`${LAYER}.mlp.experts.0.${part}_proj`, what]),
  );
}

describe("recipes like LLM Compressor's examples", () => {
  it("4-bit weights by GPTQ, router left alone", () => {
    const yaml = `
quant_stage:
  quant_modifiers:
    GPTQModifier:
      ignore: ["lm_head", "re:.*mlp.gate$"]
      scheme: "W4A16"
      targets: "Linear"
      dampening_frac: 0.1
`;
    expect(outcome(yaml)).toEqual(everywhere("4 group pack-quantized GPTQ"));
    expect(needsCalibration(parseRecipe(yaml))).toBe(true);
  });

  it("8-bit weights and activations, spelled out", () => {
    const yaml = `
quant_stage:
  quant_modifiers:
    GPTQModifier:
      ignore: ["lm_head"]
      config_groups:
        group_0:
          weights: {num_bits: 8, type: "int", symmetric: true, strategy: "channel"}
          input_activations: {num_bits: 8, type: "int", symmetric: true, dynamic: true, strategy: "token"}
          targets: ["Linear"]
`;
    expect(outcome(yaml)).toEqual(everywhere("8 channel int-quantized GPTQ"));
  });

  it("FP8 with a quantized key-value cache", () => {
    const yaml = `
quant_stage:
  quant_modifiers:
    QuantizationModifier:
      ignore: ["lm_head"]
      config_groups:
        group_0:
          weights: {num_bits: 8, type: float, strategy: tensor, dynamic: false, symmetric: true}
          input_activations: {num_bits: 8, type: float, strategy: tensor, dynamic: false, symmetric: true}
          targets: ["Linear"]
      kv_cache_scheme: {num_bits: 8, type: float, strategy: tensor, dynamic: false, symmetric: true}
`;
    expect(outcome(yaml)).toEqual(everywhere("8 tensor float-quantized RTN"));
    expect(kvCacheScheme(parseRecipe(yaml))).toMatchObject({ num_bits: 8, observer: "minmax" });
  });

  it("FP8 in blocks, without router and vision tower", () => {
    const yaml = `
default_stage:
  default_modifiers:
    QuantizationModifier:
      targets: [Linear]
      ignore: ["re:.*lm_head", "re:.*mlp\\\\.gate$", "re:.*visual.*"]
      scheme: FP8_BLOCK
`;
    expect(outcome(yaml)).toEqual(everywhere("8 block float-quantized RTN"));
  });

  it("NVFP4 experts and FP8 attention", () => {
    const yaml = `
default_stage:
  default_modifiers:
    QuantizationModifier:
      ignore: [lm_head, "re:.*mlp.gate$"]
      config_groups:
        experts:
          targets: ["re:.*mlp.experts.*"]
          weights: {num_bits: 4, type: float, strategy: tensor_group, group_size: 16, symmetric: true, scale_dtype: torch.float8_e4m3fn}
          input_activations: {num_bits: 4, type: float, strategy: tensor_group, group_size: 16, dynamic: local, scale_dtype: torch.float8_e4m3fn, observer: static_minmax}
        attention:
          targets: ["re:.*self_attn.*"]
          weights: {num_bits: 8, type: float, strategy: channel, symmetric: true}
          input_activations: {num_bits: 8, type: float, strategy: token, dynamic: true}
`;
    expect(outcome(yaml)).toEqual({
      ...attention("8 channel float-quantized RTN"),
      ...experts("4 tensor_group nvfp4-pack-quantized RTN"),
      ...ALWAYS,
    });
  });

  it("GPTQ for attention, rounding for experts", () => {
    const yaml = `
default_stage:
  default_modifiers:
    GPTQModifier: {targets: ["re:.*self_attn.*"], ignore: [lm_head], scheme: W8A16}
    QuantizationModifier: {targets: ["re:.*experts.*"], ignore: [lm_head], scheme: W4A16_ASYM}
`;
    expect(outcome(yaml)).toEqual({
      ...attention("8 group pack-quantized GPTQ"),
      ...experts("4 group pack-quantized RTN"),
      ...ALWAYS,
    });
  });

  it("with a field that is no more name its line", () => {
    const yaml = `
quant_stage:
  quant_modifiers:
    GPTQModifier:
      sequential_update: null
`;
    expect(() => parseRecipe(yaml)).toThrow(/line 5.*sequential_update/s);
  });
});
