import { describe, expect, it } from "vitest";
import { recommend, splitAtDifference } from "./compare-recipes.ts";
import { QUALITY } from "./testing/fake-services.ts";
import type { MeasuredRecipe } from "./trial.ts";

function measured(recipe: string, perplexity: number, weightBytes: number): MeasuredRecipe {
  const model = { ...QUALITY.model, perplexity, weightBytes };
  const original = { ...QUALITY.model, perplexity: 10, weightBytes: 1000 };
  return { jobId: recipe, recipe, seconds: 1, report: { ...QUALITY, model, original } };
}

describe("the recommendation", () => {
  it("waits for a second recipe", () => {
    expect(recommend([measured("W4A16", 10.01, 250)])).toBeNull();
  });

  it("is the smallest recipe that loses little", () => {
    const all = [measured("W8A8", 10.02, 500), measured("W4A16", 10.05, 250), measured("W2A16", 14, 125)];
    expect(recommend(all)).toContain("W4A16");
  });

  it("names the one that loses least where all lose much", () => {
    expect(recommend([measured("W2A16", 14, 125), measured("W3A16", 11, 190)])).toContain(
      "W3A16 loses the least",
    );
  });
});

describe("two answers", () => {
  it("part at the first word that differs", () => {
    expect(splitAtDifference("a torn map", "a tall tree")).toEqual({
      shared: "a ",
      restA: "torn map",
      restB: "tall tree",
    });
  });

  it("do not part where they are equal", () => {
    expect(splitAtDifference("a map", "a map")).toEqual({ shared: "a map", restA: "", restB: "" });
  });
});
