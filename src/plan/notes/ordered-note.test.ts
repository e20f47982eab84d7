import { expect, it } from "vitest";
import { groupsOf } from "../../formats/recipe/recipe.ts";
import { modifierRecipe } from "../../testing/modifier-recipe.ts";
import { parseRecipe } from "../recipe/parse-recipe.ts";
import { orderedNotes } from "./ordered-note.ts";

const DOWN = "model.layers.0.mlp.down_proj";
const UP = "model.layers.0.mlp.up_proj";

function notes(fields: string, ...modules: readonly string[]) {
  const [group] = groupsOf(parseRecipe(modifierRecipe(fields, "GPTQModifier")));
  if (!group) throw new Error("a recipe with a scheme has a group");
  return orderedNotes(modules.map((module) => ({ module, group })));
}

it("groups in the order of quantization are told of, which compressed-tensors refuses", () => {
  const [note] = notes("scheme: W4A16\nactorder: group", DOWN, UP);
  expect(note).toMatchObject({ server: "transformers", modules: [DOWN, UP], ignore: [] });
  expect(note?.sentence).toContain(`(2 Linears have it: ${DOWN}, …). Take "static"`);
  expect(notes("scheme: W4A16\nactorder: group", DOWN)[0]?.sentence).toContain(`(a Linear has it: ${DOWN})`);
});

it("other orders, and weights without groups, are not", () => {
  expect(notes("scheme: W4A16\nactorder: static", DOWN)).toEqual([]);
  expect(notes("scheme: W4A16\nactorder: null", DOWN)).toEqual([]);
  expect(notes("scheme: W8A8\nactorder: group", DOWN)).toEqual([]);
});
