import { describe, expect, it } from "vitest";
import { needsCalibration } from "../../formats/recipe/recipe.ts";
import { recipeYaml } from "../../package/recipe-yaml.ts";
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

  it("read AWQ's recipe, as LLM Compressor writes it", () => {
    const [awq, rounding] = parseRecipe(`default_stage:
  default_modifiers:
    AWQModifier:
      requires_calibration_data: true
      mappings:
      - smooth_layer: re:.*up_proj$
        balance_layers: ['re:.*down_proj$']
        activation_hook_target: null
      offload_device: cpu
      duo_scaling: both
      n_grid: 10
    ${ROUNDING}
`).modifiers;
    expect(awq).toEqual({
      name: "AWQModifier",
      settings: { duo_scaling: "both", n_grid: 10 },
      mappings: [{ smooth_layer: "re:.*up_proj$", balance_layers: ["re:.*down_proj$"] }],
      ignore: [],
    });
    expect(rounding?.name).toBe("QuantizationModifier");
  });

  it("take an AWQModifier with a scheme for the two modifiers that it was", () => {
    const older =
      "AWQModifier: {scheme: W4A16_ASYM, targets: [Linear], ignore: [lm_head], duo_scaling: false}";
    const both = [
      "AWQModifier: {duo_scaling: false}",
      "QuantizationModifier: {scheme: W4A16_ASYM, ignore: [lm_head]}",
    ];
    expect(parseRecipe(stage(older))).toEqual(parseRecipe(stage(...both)));
  });

  it("need a text, even before what needs none", () => {
    expect(needsCalibration(parseRecipe(stage(ROUNDING)))).toBe(false);
    expect(needsCalibration(parseRecipe(stage("SmoothQuantModifier:", ROUNDING)))).toBe(true);
  });

  it("come back from the YAML that they are written as", () => {
    const mapped = "SmoothQuantModifier: {algorithm: log_equalization, mappings: [[[a, b], c]], ignore: [d]}";
    const searched =
      "AWQModifier: {n_grid: 8, loss: block, mappings: [{smooth_layer: a, balance_layers: [b]}]}";
    for (const line of [mapped, searched]) {
      const recipe = parseRecipe(stage(line, ROUNDING));
      expect(parseRecipe(recipeYaml(recipe))).toEqual(recipe);
    }
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
    [
      stage("AWQModifier: {duo_scaling: maybe}", ROUNDING),
      'duo_scaling: "maybe" is not true, false or "both"',
    ],
    [stage("AWQModifier: {loss: blocks}", ROUNDING), 'loss: "blocks" is not a loss. Did you mean block?'],
    [stage("AWQModifier: {n_grid: 1}", ROUNDING), "n_grid: 1 is not a whole number from 2 to 1000"],
    [
      stage("AWQModifier: {n_grid: 3, duo_scaling: both}", ROUNDING),
      "n_grid is 3; with duo_scaling: both it is at least 4",
    ],
    [
      stage("AWQModifier: {ignore: [lm_head]}", ROUNDING),
      "line 3, column 19: ignore says what is quantized, which AWQModifier does not do without a scheme",
    ],
    [
      stage("AWQModifier: {smoothing_strength: 1}", ROUNDING),
      '"smoothing_strength" is not a field of AWQModifier',
    ],
    [
      stage(ROUNDING, "AWQModifier: {}"),
      "AWQModifier stands behind QuantizationModifier, which has chosen its codes by then: put it before.",
    ],
    [
      `${stage("AWQModifier: {}")}  b_modifiers:\n    AWQModifier: {}\n    ${ROUNDING}\n`,
      "AWQModifier is there twice: the second would search for scales of weights that the first has scaled",
    ],
    [
      stage("AWQModifier: {}", "QuantizationModifier: {scheme: FP8}"),
      "duo_scaling compares the columns of each group of weights, and FP8 has one scale for a whole weight",
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
