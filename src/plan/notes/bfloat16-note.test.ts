import { expect, it } from "vitest";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { groupsOf } from "../../formats/recipe/recipe.ts";
import { modifierRecipe } from "../../testing/modifier-recipe.ts";
import { parseRecipe } from "../recipe/parse-recipe.ts";
import { bfloat16Notes } from "./bfloat16-note.ts";

function notes(scheme: string, dtype: FloatDtype) {
  const weights = groupsOf(parseRecipe(modifierRecipe(`scheme: ${scheme}`)))[0]?.scheme.weights;
  if (!weights) throw new Error("the scheme has weights");
  return bfloat16Notes([{ module: "model.layers.0.mlp.up_proj", dtype, weights }]);
}

// What transformers 5.17 does with results of a llama in each dtype: these end in "must have the same dtype".
it.each(["NVFP4A16", "MXFP4A16", "MXFP8A16"])(
  "%s is told of where the model is no bfloat16, in which transformers has its weights",
  (scheme) => {
    const [note] = notes(scheme, "F16");
    expect(note).toMatchObject({
      server: "transformers",
      modules: ["model.layers.0.mlp.up_proj"],
      ignore: [],
    });
    expect(note?.sentence).toMatch(/with dtype=torch\.bfloat16 alone.*the model is float16/);
    expect(notes(scheme, "F32")[0]?.sentence).toContain("the model is float32");
    expect(notes(scheme, "BF16")).toEqual([]);
  },
);

it.each(["W4A16", "FP8_DYNAMIC", "FP8_BLOCK"])("%s has the model's own dtype, and no note", (scheme) => {
  expect(notes(scheme, "F16")).toEqual([]);
});
