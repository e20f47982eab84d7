import { describe, expect, it } from "vitest";
import { comparableWith, nameRecipe, recommend } from "./compare-recipes.ts";
import type { MeasuredRecipe } from "./measurement-store.ts";
import { QUALITY } from "../../testing/fake-evaluator.ts";
import { JOB, OPTIONS } from "../../testing/fake-services.ts";

function measured(recipe: string, perplexity: number, weightBytes: number): MeasuredRecipe {
  const model = { ...QUALITY.model, perplexity, weightBytes };
  const original = { ...QUALITY.model, perplexity: 10, weightBytes: 1000 };
  const report = { ...QUALITY, model, original };
  return { jobId: recipe, model: "tiny", recipe, seconds: 1, measuredAt: 1, report };
}

describe("a recipe's name", () => {
  it("is its scheme, how it was rounded, and its bits", () => {
    expect(nameRecipe(JOB, QUALITY)).toBe("W4A16, 4.16 bits");
    const method = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
    const base = { kind: "controls", scheme: "W4A16", group_size: null, ignore: [] } as const;
    const controls = { ...base, method, observer: "memoryless_minmax" } as const;
    expect(nameRecipe({ ...JOB, options: { ...OPTIONS, recipe: controls } }, QUALITY)).toContain("by GPTQ");
    const yaml = { kind: "yaml", text: "stage:\n  modifiers:\n    GPTQModifier: {}" } as const;
    expect(nameRecipe({ ...JOB, options: { ...OPTIONS, recipe: yaml } }, QUALITY)).toContain("by GPTQ");
  });
});

describe("what can be compared", () => {
  it("was measured on the same model and the same windows", () => {
    const shown = measured("W4A16", 10.05, 250);
    const other = measured("W8A8", 10.02, 500);
    const elsewhere = { ...other, model: "large" };
    const shorter = { ...other, report: { ...other.report, tokens: 7 } };
    const otherText = { ...other, report: { ...other.report, text: "novel.txt" } };
    const all = [other, elsewhere, shorter, otherText, shown];
    expect(comparableWith(shown, all)).toEqual([other, shown]);
  });
});

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
