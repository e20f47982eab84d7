import { expect, it } from "vitest";
import { RecipeError } from "../../errors.ts";
import { idleIgnoreNote } from "./idle-ignore-note.ts";

const modules = ["model.embed_tokens", "model.layers.0.mlp.down_proj", "lm_head"];

it("is silent where each entry means a module", () => {
  for (const ignore of [[], ["lm_head"], ["re:.*down_proj$", "model.embed_tokens"], ["Linear"]])
    expect(idleIgnoreNote(ignore, modules)).toBeNull();
});

it("names entries that mean nothing, a few of many", () => {
  expect(idleIgnoreNote(["lm_head", "re:.*dwon_proj$", "down_proj"], modules)).toBe(
    "No weight of this model is called re:.*dwon_proj$, down_proj, as ignore has it. Correct the name if a module is to stay as it is.",
  );
  const many = Array.from({ length: 7 }, (_, index) => `layer${index}`);
  expect(idleIgnoreNote(many, modules)).toMatch(/called layer0, .*layer4 and 2 more, as/);
});

it("refuses a pattern that cannot be used", () => {
  expect(() => idleIgnoreNote(["re:("], modules)).toThrow(RecipeError);
});
