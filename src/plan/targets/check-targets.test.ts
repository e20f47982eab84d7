import { expect, it } from "vitest";
import type { Recipe } from "../../formats/recipe/recipe.ts";
import { checkTargets } from "./check-targets.ts";
import { parseRecipe } from "../recipe/parse-recipe.ts";

const recipe = (targets: string): Recipe =>
  parseRecipe(`s_stage: {q_modifiers: {QuantizationModifier: {scheme: W8A8, targets: ${targets}}}}`);
const model = {
  linears: ["model.layers.0.mlp.up_proj", "lm_head"],
  others: ["model.embed_tokens", "model.layers.0.mlp.gate"],
};
const check = (targets: string) => () => checkTargets(recipe(targets), model);

it.each([
  "Linear",
  "[Linear, lm_head]",
  "[model.layers.0.mlp.up_proj]",
  "['re:.*']",
  "['re:.*up_proj', 're:.*_proj']",
])("takes the targets %s, each of which means a Linear", (targets) => {
  expect(check(targets)).not.toThrow();
});

it.each([
  ["[Linear, Embedding]", /"Embedding" is the name of a class, and the only class .* is Linear/],
  ["[Linear, model.embed_tokens]", /means "model\.embed_tokens", which is not quantized here/],
  ["[Linear, 're:.*embed_tokens']", /"re:\.\*embed_tokens" means "model\.embed_tokens"/],
  ["[Linear, 're:.*mlp.gate$']", /means "model\.layers\.0\.mlp\.gate", .* no routers/],
  ["[Linear, model.layers.7.mlp.up_proj]", /means no Linear of this model\. Take it out/],
  ["['re:.*up_proj', 're:.*experts']", /"re:\.\*experts" means no Linear/],
])("refuses the targets %s, one of which nothing would be done for", (targets, says) => {
  expect(check(targets)).toThrow(says);
});
