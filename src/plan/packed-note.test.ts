import { expect, it } from "vitest";
import { groupsOf } from "../formats/recipe.ts";
import { packedNotes } from "./packed-note.ts";
import { parseRecipe } from "./parse-recipe.ts";

function notes(type: string, scheme: string) {
  const [group] = groupsOf(
    parseRecipe(`s_stage: {q_modifiers: {QuantizationModifier: {scheme: ${scheme}}}}`),
  );
  if (!group) throw new Error("a recipe with a scheme has a group");
  return packedNotes({ model_type: type }, [{ module: "model.layers.0.mlp.up_proj", group }]);
}

it("packed weights are told of where transformers' classes ask for plain ones", () => {
  for (const scheme of ["W4A16", "NVFP4A16", "MXFP4A16"])
    expect(notes("falcon", scheme)).toEqual([
      expect.objectContaining({ server: "transformers", sentence: expect.stringMatching(/will not open/) }),
    ]);
  expect(notes("falcon", "FP8_DYNAMIC")).toEqual([]);
  expect(notes("llama", "W4A16")).toEqual([]);
});
