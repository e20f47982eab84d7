import { expect, it } from "vitest";
import { createRecipeFields, orderOf, recipeChoice, restoreRecipe } from "./recipe-fields.ts";
import type { RecipeChoice } from "../../../api/job-options.ts";

it("begins with the default preset as it is", () => {
  expect(recipeChoice(createRecipeFields())).toEqual({
    kind: "controls",
    scheme: "W4A16",
    group_size: null,
    ignore: ["lm_head"],
    method: { name: "QuantizationModifier" },
    observer: "memoryless_minmax",
  });
});

it("reads the ignore list between commas and white space", () => {
  const fields = createRecipeFields();
  fields.ignore.value = "lm_head, re:.*gate$\n  model.layers.0.mlp.down_proj,";
  expect(recipeChoice(fields)).toMatchObject({
    ignore: ["lm_head", "re:.*gate$", "model.layers.0.mlp.down_proj"],
  });
  fields.ignore.value = "";
  expect(recipeChoice(fields)).toMatchObject({ ignore: [] });
});

it("gives no group size to a preset that has one scale per channel", () => {
  const fields = createRecipeFields();
  fields.groupSize.value = 64;
  expect(recipeChoice(fields)).toMatchObject({ scheme: "W4A16", group_size: 64 });
  fields.scheme.value = "W8A8";
  expect(recipeChoice(fields)).toMatchObject({ scheme: "W8A8", group_size: null });
});

it("lets YAML decide instead of the controls", () => {
  const fields = createRecipeFields();
  fields.yaml.value = "QuantizationModifier: {}";
  expect(recipeChoice(fields)).toEqual({ kind: "yaml", text: "QuantizationModifier: {}" });
});

it.each<RecipeChoice>([
  {
    kind: "controls",
    scheme: "W8A16",
    group_size: 32,
    ignore: ["lm_head", "re:.*gate$"],
    method: { name: "QuantizationModifier" },
    observer: "memoryless_mse",
  },
  {
    kind: "controls",
    scheme: "W3A16",
    group_size: null,
    ignore: [],
    method: { name: "GPTQModifier", dampening_frac: 0.05, actorder: "group" },
    observer: "memoryless_minmax",
  },
  { kind: "yaml", text: "a: 1" },
])("restores $kind", (choice) => {
  const fields = createRecipeFields();
  restoreRecipe(fields, choice);
  expect(recipeChoice(fields)).toEqual(choice);
});

it("an order of groups is chosen only where groups can be formed in it", () => {
  const fields = createRecipeFields();
  fields.method.value = "GPTQModifier";
  fields.actorder.value = "group";
  const orders = ["W4A16", "W8A8", "NVFP4A16", "FP8_BLOCK"].map((scheme) => {
    fields.scheme.value = scheme;
    return orderOf(fields);
  });
  expect(orders).toEqual(["group", "static", "static", "static"]);
  fields.scheme.value = "W8A8";
  expect(recipeChoice(fields)).toMatchObject({ method: { actorder: "static" } });
});
