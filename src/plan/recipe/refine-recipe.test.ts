import { describe, expect, it } from "vitest";
import { BEST_SCHEMES, bestRecipe } from "../../formats/modifiers/best.ts";
import { groupsOf, needsCalibration } from "../../formats/recipe/recipe.ts";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { problemOf } from "../../testing/problem-of.ts";
import { parseRecipe } from "./parse-recipe.ts";

function gptq(more: string): string {
  return `quant_stage:\n  quant_modifiers:\n    GPTQModifier: {scheme: W4A16, ignore: [lm_head]${more}}\n`;
}

describe("a refinement in a recipe", () => {
  it("is absent from plain GPTQ", () => {
    const [plain] = parseRecipe(gptq("")).modifiers;
    expect(plain).toHaveProperty("settings", { block_size: 128, dampening_frac: 0.01 });
    expect(recipeYaml(parseRecipe(gptq("")))).not.toContain("refine");
  });

  it("has two rounds of one pass if nothing else is said, and is written as it is read", () => {
    const [short] = parseRecipe(gptq(", refine: {}")).modifiers;
    expect(short).toHaveProperty("settings.refine", { rounds: 2, passes: 1 });
    const parsed = parseRecipe(gptq(", refine: {rounds: 3, passes: 0}, weight_observer: hessian_mse"));
    expect(parsed.modifiers[0]).toHaveProperty("settings.refine", { rounds: 3, passes: 0 });
    expect(groupsOf(parsed)[0]?.scheme.weights?.observer).toBe("hessian_mse");
    expect(parseRecipe(recipeYaml(parsed))).toEqual(parsed);
  });

  it("is refused where it would change nothing", () => {
    const channels = gptq(", refine: {passes: 0}").replace("W4A16", "W8A8");
    expect(problemOf(channels)).toContain("groups of at most 128 columns; group_0 has none");
    expect(() => parseRecipe(channels.replace("passes: 0", "passes: 1"))).not.toThrow();
  });

  it("improves what is rounded to nearest, which then wants a text", () => {
    const rounding = (more: string) => gptq(more).replace("GPTQModifier", "QuantizationModifier");
    const parsed = parseRecipe(rounding(", refine: {}"));
    expect(parsed.modifiers[0]).toHaveProperty("settings", { refine: { rounds: 2, passes: 1 } });
    expect(parseRecipe(recipeYaml(parsed))).toEqual(parsed);
    expect([parsed, parseRecipe(rounding(""))].map(needsCalibration)).toEqual([true, false]);
    expect(problemOf(rounding(", refine: {passes: 0}").replace("W4A16", "W8A8"))).toContain(
      "group_0 has none",
    );
    expect(problemOf(rounding(", refine: {}").replace("QuantizationModifier", "AWQModifier"))).toContain(
      '"refine" is not a field of AWQModifier',
    );
  });

  it("is bounded", () => {
    expect(problemOf(gptq(", refine: {rounds: 1000}"))).toContain("is not a whole number from 1 to 32");
    expect(problemOf(gptq(", refine: {steps: 3}"))).toContain('"steps" is not a field of refine');
  });
});

describe("the observer hessian_mse", () => {
  it("calibrates what is rounded to nearest, and takes no scale of a whole tensor", () => {
    const recipe = (weights: string) =>
      `q_stage: {q_modifiers: {QuantizationModifier: {config_groups: {g: {targets: [Linear], weights: ${weights}}}}}}`;
    const grouped = recipe("{num_bits: 4, group_size: 32, observer: hessian_mse}");
    expect(needsCalibration(parseRecipe(grouped))).toBe(true);
    expect(problemOf(recipe("{observer: hessian_mse}"))).toContain(
      "The observer hessian_mse weighs input columns",
    );
    expect(
      problemOf(recipe("{group_size: 32, observer: hessian_mse, observer_kwargs: {grid: 9}}")),
    ).toContain("The observer hessian_mse has no options");
  });
});

describe("the best recipe", () => {
  it("takes another group size and other modules to ignore", () => {
    const ignore = ["lm_head", "re:.*[.]0[.].*"];
    const own = parseRecipe(bestRecipe("W3A16"));
    const recipe = parseRecipe(bestRecipe("W3A16", 64, ignore));
    expect(recipe.modifiers[0]).toHaveProperty("ignore", ignore);
    const weights = groupsOf(own)[0]?.scheme.weights;
    expect(groupsOf(recipe)[0]?.scheme.weights).toEqual({ ...weights, group_size: 64 });
  });

  it.each(BEST_SCHEMES)("of %s is one that can be run", (scheme) => {
    const recipe = parseRecipe(bestRecipe(scheme));
    const { rotation, modifiers } = recipe;
    expect(rotation).toEqual({ rotations: ["R1", "R2"], transform_type: "random-hadamard" });
    expect(modifiers[0]).toHaveProperty("settings.refine", { rounds: 2, passes: 1 });
    expect(groupsOf(recipe)[0]?.scheme.weights?.observer).toBe("hessian_mse");
  });
});
