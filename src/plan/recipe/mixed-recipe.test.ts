import { describe, expect, it } from "vitest";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { mixedRecipe, onlyModifier } from "./mixed-recipe.ts";
import { matchGroup } from "../targets/match-targets.ts";
import { parseRecipe } from "./parse-recipe.ts";

const gptq = (bits: number) =>
  onlyModifier(
    parseRecipe(
      `s_stage: {q_modifiers: {GPTQModifier: {targets: [Linear], ignore: [lm_head], scheme: W${bits}A16}}}`,
    ),
  );

describe("a recipe with a scheme for each module", () => {
  const [four, eight] = [gptq(4), gptq(8)];
  if (!four || !eight) throw new Error("both have one modifier");
  const schemeOf = (modifier: typeof four) =>
    modifier.groups[0]?.scheme ?? { weights: null, input_activations: null };
  const layer = (number: number, name: string) => `model.layers.${number}.${name}`;
  const small = [1, 2, 11].flatMap((number) =>
    ["q_proj", "k_proj"].map((part) => layer(number, `self_attn.${part}`)),
  );
  const large = [
    layer(12, "self_attn.q_proj"),
    layer(12, "self_attn.k_proj"),
    ...[0, 1, 10].map((expert) => layer(3, `mlp.experts.${expert}.up_proj`)),
    "model.embed.proj",
  ];
  const recipe = mixedRecipe(four, [
    { scheme: schemeOf(four), modules: small },
    { scheme: schemeOf(eight), modules: large },
  ]);

  it("reads back from YAML, and gives each module its own scheme and others none", () => {
    const read = parseRecipe(recipeYaml(recipe));
    const bitsOf = (module: string) => matchGroup(module, read)?.group.scheme.weights?.num_bits ?? null;
    expect(small.map(bitsOf)).toEqual(small.map(() => 4));
    expect(large.map(bitsOf)).toEqual(large.map(() => 8));
    const others = [
      layer(1, "self_attn.v_proj"),
      layer(3, "self_attn.q_proj"),
      layer(22, "self_attn.q_proj"),
      "lm_head",
    ];
    expect(others.map(bitsOf)).toEqual(others.map(() => null));
    expect(read.modifiers[0]).toMatchObject({
      name: "GPTQModifier",
      ignore: ["lm_head"],
      settings: { dampening_frac: 0.01 },
    });
  });

  it("has one pattern for modules that differ in their layer alone, and none for the class", () => {
    const [first, second] = recipe.modifiers.flatMap((modifier) =>
      "groups" in modifier ? modifier.groups : [],
    );
    expect(first?.targets).toEqual([
      "re:model\\.layers\\.(1|2|11)\\.self_attn\\.q_proj$",
      "re:model\\.layers\\.(1|2|11)\\.self_attn\\.k_proj$",
    ]);
    expect(second?.targets).toContain("re:model\\.layers\\.(3)\\.mlp\\.experts\\.\\d+\\.up_proj$");
  });
});
