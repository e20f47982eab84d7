import { describe, expect, it } from "vitest";
import { needsCalibration } from "../formats/recipe.ts";
import { recipeYaml } from "../package/recipe-yaml.ts";
import { parseRecipe } from "./parse-recipe.ts";

const ROUNDING = "QuantizationModifier: {scheme: W8A8, ignore: [lm_head]}";

function stage(...modifiers: string[]): string {
  return `a_stage:\n  a_modifiers:\n${modifiers.map((line) => `    ${line}\n`).join("")}`;
}

describe("modifiers that move factors between tensors", () => {
  it("read LLM Compressor's own recipe, tuples and all", () => {
    const { modifiers } = parseRecipe(`default_stage:
  default_modifiers:
    SmoothQuantModifier:
      requires_calibration_data: true
      smoothing_strength: 0.8
      mappings:
      - !!python/tuple
        - ['re:.*q_proj', 're:.*k_proj']
        - re:.*input_layernorm
      - {smooth_layer: 're:.*up_proj$', balance_layers: ['re:.*down_proj$'], activation_hook_target: null}
      ignore: []
      algorithm: smoothquant
    ${ROUNDING}
`);
    expect(modifiers[0]).toEqual({
      name: "SmoothQuantModifier",
      settings: { smoothing_strength: 0.8, algorithm: "smoothquant" },
      mappings: [
        { smooth_layer: "re:.*input_layernorm", balance_layers: ["re:.*q_proj", "re:.*k_proj"] },
        { smooth_layer: "re:.*up_proj$", balance_layers: ["re:.*down_proj$"] },
      ],
      ignore: [],
    });
  });

  it("need a text, even before what needs none", () => {
    expect(needsCalibration(parseRecipe(stage(ROUNDING)))).toBe(false);
    expect(needsCalibration(parseRecipe(stage("SmoothQuantModifier:", ROUNDING)))).toBe(true);
  });

  it("come back from the YAML that they are written as", () => {
    const mapped = "SmoothQuantModifier: {algorithm: log_equalization, mappings: [[[a, b], c]], ignore: [d]}";
    const recipe = parseRecipe(stage(mapped, ROUNDING));
    expect(parseRecipe(recipeYaml(recipe))).toEqual(recipe);
  });

  it.each([
    [
      stage(ROUNDING, "SmoothQuantModifier: {}"),
      "line 4, column 5: SmoothQuantModifier stands behind QuantizationModifier, which has chosen its codes by then: put it before.",
    ],
    [
      stage("SmoothQuantModifier: {}"),
      "line 3, column 5: SmoothQuantModifier only prepares weights, and nothing behind it quantizes them",
    ],
    [
      stage("SmoothQuantModifier: {smoothing_strength: 1.5}", ROUNDING),
      "smoothing_strength: 1.5 is not a number from 0 to 1",
    ],
    [
      stage("SmoothQuantModifier: {algorithm: smoothquat}", ROUNDING),
      'algorithm: "smoothquat" is not an algorithm. Did you mean smoothquant?',
    ],
    [stage("SmoothQuantModifier: {mappings: []}", ROUNDING), "mappings: is empty"],
    [stage("SmoothQuantModifier: {mappings: [q]}", ROUNDING), 'mappings: "q" is not a mapping'],
    [
      stage("SmoothQuantModifier: {mappings: [[['re:('], b]]}", ROUNDING),
      '"re:(" is not a regular expression that can be used',
    ],
  ])("refuse %j", (text, message) => {
    expect(() => parseRecipe(text)).toThrow(message);
  });
});
