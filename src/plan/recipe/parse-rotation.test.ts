import { describe, expect, it } from "vitest";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { parseRecipe } from "./parse-recipe.ts";
import { problemOf } from "../../testing/problem-of.ts";

const ROUNDING = "QuantizationModifier: {scheme: W4A16, targets: [Linear], ignore: [lm_head]}";

function recipe(...modifiers: readonly string[]): string {
  return `quant_stage:\n  quant_modifiers:\n${modifiers.map((each) => `    ${each}\n`).join("")}`;
}

describe("SpinQuantModifier", () => {
  it("rotates hidden states and heads by Hadamard matrices if nothing else is said", () => {
    const settings = { rotations: ["R1", "R2"], transform_type: "hadamard" };
    expect(parseRecipe(recipe("SpinQuantModifier:", ROUNDING)).rotation).toEqual(settings);
    expect(parseRecipe(recipe("SpinQuantModifier: {}", ROUNDING)).rotation).toEqual(settings);
    expect(parseRecipe(recipe(ROUNDING))).not.toHaveProperty("rotation");
  });

  it("is written as it is read", () => {
    const text = recipe("SpinQuantModifier: {rotations: [r2], transform_type: random-hadamard}", ROUNDING);
    const parsed = parseRecipe(text);
    expect(parsed.rotation).toEqual({ rotations: ["R2"], transform_type: "random-hadamard" });
    expect(parseRecipe(recipeYaml(parsed))).toEqual(parsed);
  });

  it.each([
    [recipe("SpinQuantModifier: {rotations: [R1, R3]}", ROUNDING), "R3 is computed while the model runs"],
    [recipe("SpinQuantModifier: {rotations: [R5]}", ROUNDING), '"R5" is not a rotation'],
    [recipe("SpinQuantModifier: {rotations: []}", ROUNDING), "names no rotation"],
    [
      recipe("SpinQuantModifier: {transform_type: random-matrix}", ROUNDING),
      '"random-matrix" is not a transform',
    ],
    [recipe("SpinQuantModifier: {learnable: true}", ROUNDING), "Learning rotations is not supported"],
    [
      recipe("SpinQuantModifier: {transform_block_size: 64}", ROUNDING),
      "Rotations of blocks are not supported",
    ],
    [recipe(ROUNDING, "SpinQuantModifier: {}"), "name it once, as the first modifier"],
    [recipe("SpinQuantModifier: {}"), "The recipe quantizes nothing"],
  ])("is refused where files cannot hold what it does: %j", (text, sentence) => {
    expect(problemOf(text)).toContain(sentence);
  });
});
