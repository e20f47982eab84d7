import { expect, it } from "vitest";
import { RecipeError } from "../../../errors.ts";
import { bestRecipe } from "../../../formats/modifiers/best.ts";
import { readRecipeChoice } from "./read-recipe-choice.ts";

it("reads a preset in any case", () => {
  expect(readRecipeChoice(" fp8_dynamic ")).toEqual({
    kind: "controls",
    scheme: "FP8_DYNAMIC",
    group_size: null,
    ignore: ["lm_head"],
    method: { name: "QuantizationModifier" },
    observer: "memoryless_minmax",
  });
});

it("reads GPTQ over a preset, with LLM Compressor's defaults", () => {
  expect(readRecipeChoice("GPTQ-w4a16_asym")).toMatchObject({
    scheme: "W4A16_ASYM",
    method: { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" },
  });
});

it.each(["QuantizationModifier:\n  scheme: W4A16\n", "QuantizationModifier: {scheme: W4A16}"])(
  "takes %j for YAML, as it is",
  (text) => {
    expect(readRecipeChoice(text)).toEqual({ kind: "yaml", text });
  },
);

it("spells out what is best at few bits", () => {
  const choice = readRecipeChoice("Best-w3a16");
  expect(choice).toEqual({ kind: "yaml", text: bestRecipe("W3A16") });
});

it.each([
  ["best-W4A61", /nearest one is best-W4A16\./],
  ["W4A61", /“W4A61” does not exist. The nearest one is W4A16\./],
  ["gptq-w4a1", /nearest one is gptq-W4A16\./],
  ["gtpq-w8a8", /nearest one is gptq-W8A8\./],
  ["constructor", /W4A16 and gptq-W4A16 are two/],
  ["", /does not exist/],
])("refuses %j in a sentence", (name, sentence) => {
  expect(() => readRecipeChoice(name)).toThrow(RecipeError);
  expect(() => readRecipeChoice(name)).toThrow(sentence);
});
