import { describe, expect, it } from "vitest";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { problemOf } from "../../testing/problem-of.ts";
import { parseRecipe } from "./parse-recipe.ts";

function recipe(more: string, modifier = "GPTQModifier"): string {
  return `q_stage: {q_modifiers: {${modifier}: {scheme: W4A16, ignore: [lm_head]${more}}}}`;
}

describe("a drift in a recipe", () => {
  it("is absent from plain GPTQ, and is written as it is read", () => {
    expect(recipeYaml(parseRecipe(recipe("")))).not.toContain("drift");
    const parsed = parseRecipe(recipe(", drift: 0.5, refine: {}"));
    expect(parsed.modifiers[0]).toHaveProperty("settings.drift", 0.5);
    expect(parseRecipe(recipeYaml(parsed))).toEqual(parsed);
  });

  it.each(["0", "-1", "1.5", ".nan", "all"])("of %s is refused", (share) => {
    expect(problemOf(recipe(`, drift: ${share}`))).toContain("drift: ");
  });

  it("is GPTQ's alone", () => {
    expect(problemOf(recipe(", drift: 0.5", "QuantizationModifier"))).toContain(
      '"drift" is not a field of QuantizationModifier',
    );
  });
});
