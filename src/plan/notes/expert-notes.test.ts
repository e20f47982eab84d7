import { describe, expect, it } from "vitest";
import { groupsOf, type Recipe } from "../../formats/recipe/recipe.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { defaultControls, recipeFromControls } from "../recipe/choose-recipe.ts";
import { isStacked } from "../checkpoint/split-experts.ts";
import { expertNotes, keepsFused } from "./expert-notes.ts";
import { parseRecipe } from "../recipe/parse-recipe.ts";
import { planSteps } from "../plan-steps.ts";

const EXPERTS = ["gate_proj", "up_proj", "down_proj"].map((part) => `model.layers.0.mlp.experts.0.${part}`);

/** "transformers: refuse …" for each note of a model of one expert. */
function notes(recipe: Recipe, type = "qwen3_moe"): string[] {
  const classes = linearClasses({ model_type: type });
  const tensors = ["model.layers.0.self_attn.o_proj", ...EXPERTS].map((module) => {
    const tensor = { name: `${module}.weight`, dtype: "BF16", shape: [256, 256] } as const;
    return { ...tensor, start: 0, end: tensorBytes(tensor), file: "model.safetensors" };
  });
  const { steps, ignored } = planSteps(tensors, recipe, { classes });
  const quantized = steps.flatMap(({ quantize }) => quantize);
  const found = expertNotes({ classes, groups: groupsOf(recipe), quantized, ignored });
  return found.map(({ server, sentence }) => `${server}: ${sentence}`);
}

const of = (preset: string, type?: string) => notes(recipeFromControls(defaultControls(preset)), type);
const REFUSES = /^transformers: transformers \S+ will refuse this result: .* W/;
const WRONG = /^transformers: .*open this result with wrong experts .* without their global scales/;
const MISSES = /^transformers: .*will not find the experts that stay as they are .* uninitialised/;
const NO_KERNEL = /^vLLM: .* no method for experts of /;

describe("who opens a mixture of experts", () => {
  // As transformers 5.17 did with each of these on a tiny Qwen3-MoE, and as vLLM's choice of a method reads.
  it.each([
    ["W4A16", []],
    ["W8A16", []],
    ["W3A16", []],
    ["W4AFP8", []],
    ["FP8_DYNAMIC", []],
    ["FP8", []],
    ["MXFP4A16", []],
    ["MXFP4", []],
    ["W4A16_ASYM", [/will refuse this result/]],
    ["W8A8", [REFUSES]],
    ["W4A8", [REFUSES]],
    ["FP8_BLOCK", [/will refuse this result/]],
    ["MXFP8", [/will refuse this result/]],
    ["NVFP4", [WRONG]],
    ["NVFP4A16", [WRONG]],
    ["W2A8", [REFUSES, NO_KERNEL]],
    ["W4A4", [REFUSES, NO_KERNEL]],
  ] as const)("is told of %s", (preset, expected) => {
    const told = of(preset);
    expect(told).toHaveLength(expected.length);
    for (const [at, pattern] of expected.entries()) expect(told[at]).toMatch(pattern);
  });

  it("is told of experts that stay plain beside others that do not, but not beside 8-bit floats", () => {
    const plain = (scheme: string) =>
      notes(
        parseRecipe(
          `s_stage: {q_modifiers: {QuantizationModifier: {scheme: ${scheme}, ignore: ["re:.*experts.*"]}}}`,
        ),
      );
    expect(plain("W4A16")).toEqual([expect.stringMatching(MISSES)]);
    expect(plain("FP8_DYNAMIC")).toEqual([]);
  });

  it("is told of the group that transformers takes for that of the experts", () => {
    const groups = (experts: string) =>
      notes(
        parseRecipe(`s_stage: {q_modifiers: {QuantizationModifier: {config_groups: {
          a: {targets: ["re:.*self_attn.*"], weights: {num_bits: 8, type: float, strategy: channel}},
          b: {targets: ["${experts}"], weights: {num_bits: 4, group_size: 128}}}}}}`),
      );
    expect(groups("re:.*experts.*")).toEqual([]);
    expect(groups("re:.*mlp.*")).toEqual([expect.stringMatching(REFUSES)]);
  });

  it("is told where transformers looks for no single experts, whatever the scheme", () => {
    expect(of("W4A16", "qwen3_vl_moe")).toEqual([
      expect.stringMatching(
        /will not find the experts of this result .* those of qwen3_vl_moe in one tensor/,
      ),
    ]);
    expect(of("W4A16", "llama")).toEqual([]);
  });
});

describe("experts in one tensor", () => {
  it.each([
    ["mistral4", true],
    ["granitemoe_swa", true],
    ["zaya", true],
    ["qwen3_vl_moe", false],
    ["llama4_text", false],
    ["qwen3_moe", false],
    ["glm4v_moe", false],
  ])("of %s stay so: %s", (type, expected) => {
    expect(keepsFused(linearClasses({ model_type: type }))).toBe(expected);
  });

  it("of an outer model are loaded by its rules", () => {
    const config = { model_type: "glm4v_moe", text_config: { model_type: "glm4v_moe_text" } };
    expect(linearClasses(config).experts).toEqual({ modelType: "glm4v_moe", how: "merged" });
    expect(linearClasses({ model_type: "llama" }).experts).toBeNull();
  });

  it("are known by shape and name", () => {
    expect(isStacked({ name: "model.layers.0.mlp.experts.down_proj", shape: [4, 8, 8] })).toBe(true);
    expect(isStacked({ name: "model.layers.0.block_sparse_moe.input_linear.weight", shape: [4, 8, 8] })).toBe(
      true,
    );
    expect(isStacked({ name: "model.layers.0.conv.weight", shape: [4, 1, 8] })).toBe(false);
  });
});
