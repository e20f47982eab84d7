import { describe, expect, it } from "vitest";
import type { ModelSummary, QuantizationSummary } from "../../../api/compressor-api.ts";
import { createRecipeFields, recipeChoice } from "./recipe-fields.ts";
import { readRecipeChoice } from "./read-recipe-choice.ts";
import { suggestRecipe } from "./suggest-recipe.ts";
import { MODEL } from "../../testing/fake-services.ts";

const GROUP = { name: "m", count: 1, scheme: "W4A16", detail: "", weights: 8, bytes: 4 };
const QUANTIZED: QuantizationSummary = {
  method: "compressed-tensors",
  schemes: ["W4A16"],
  modules: [GROUP],
  kept: [],
  bitsPerWeight: 4,
  totalBitsPerWeight: 4,
  kvCache: null,
  dequantizedBytes: 16,
  dequantizedDtype: "BF16",
};

function suggested(before: string, quantization: ModelSummary["quantization"]): string {
  const fields = createRecipeFields();
  fields.scheme.value = before;
  suggestRecipe(fields, { ...MODEL, quantization });
  return fields.scheme.value;
}

describe("the recipe that a model suggests", () => {
  it("is to dequantize what compressed-tensors wrote, unless another one was chosen", () => {
    expect(suggested("W4A16", QUANTIZED)).toBe("UNQUANTIZED");
    expect(suggested("FP8_DYNAMIC", QUANTIZED)).toBe("FP8_DYNAMIC");
  });

  it("is to quantize FP8 in blocks, which many models are only to be had in", () => {
    expect(suggested("W4A16", { ...QUANTIZED, method: "fp8" })).toBe("W4A16");
  });

  it("is never to dequantize plain weights", () => {
    expect(suggested("UNQUANTIZED", null)).toBe("W4A16");
    expect(suggested("UNQUANTIZED", { ...QUANTIZED, modules: [] })).toBe("W4A16");
  });
});

it("UNQUANTIZED has nothing to set", () => {
  const choice = {
    kind: "controls",
    scheme: "UNQUANTIZED",
    group_size: null,
    ignore: [],
    method: { name: "QuantizationModifier" },
    observer: "memoryless_minmax",
  };
  expect(readRecipeChoice(" unquantized ")).toEqual(choice);
  const fields = createRecipeFields();
  fields.scheme.value = "UNQUANTIZED";
  fields.groupSize.value = 64;
  expect(recipeChoice(fields)).toEqual(choice);
});
