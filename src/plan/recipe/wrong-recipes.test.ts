import { describe, expect, it } from "vitest";
import { modifierRecipe } from "../../testing/modifier-recipe.ts";
import { problemOf } from "../../testing/problem-of.ts";

describe("a recipe that is wrong", () => {
  it.each([
    ["a: [1", "Recipe, line 1, column 6: "],
    ["- QuantizationModifier", "Recipe, line 1, column 1: The recipe is not a mapping."],
    ["", "Recipe, line 1, column 1: The recipe is not a mapping."],
    ["args: {}", "Recipe, line 1, column 1: The recipe quantizes nothing."],
    ["quant_stages:\n  a_modifiers: {}", 'Recipe, line 1, column 1: "quant_stages" should end in "_stage".'],
    ["s_stage:\n  quant: {}", 'Recipe, line 2, column 3: "quant" should end in "_modifiers".'],
    [
      "QuantizationModifier:\n  scheme: W4A16",
      "Recipe, line 1, column 1: QuantizationModifier stands outside of a stage.",
    ],
    [
      modifierRecipe("scheme: W4A16", "QuantisationModifier"),
      'Recipe, line 3, column 5: There is no modifier "QuantisationModifier". Did you mean QuantizationModifier?',
    ],
    [
      modifierRecipe("iters: 200", "AutoRoundModifier"),
      "Recipe, line 3, column 5: AutoRoundModifier is LLM Compressor's, but is not supported here; QuantizationModifier, GPTQModifier, SmoothQuantModifier, AWQModifier and SpinQuantModifier are.",
    ],
    [
      modifierRecipe("scheme: W4A61"),
      'Recipe, line 4, column 7: scheme: "W4A61" is not a preset. Did you mean W4A16?',
    ],
    [
      modifierRecipe("scheme: W4A16\nignored: [lm_head]"),
      'Recipe, line 5, column 7: "ignored" is not a field of QuantizationModifier. Did you mean ignore?',
    ],
    [
      modifierRecipe("scheme: W4A16\nignore: lm_head"),
      'Recipe, line 5, column 7: ignore: "lm_head" is not a list of names and patterns.',
    ],
    [
      modifierRecipe("config_groups:\n  g:\n    targets: [Linear]\n    weights:\n      num_bits: 9"),
      "Recipe, line 8, column 13: num_bits: 9 is not a whole number from 1 to 8.",
    ],
    [
      modifierRecipe("config_groups:\n  g:\n    targets: [Linear]\n    weights: {strategy: chanel}"),
      'Recipe, line 7, column 21: strategy: "chanel" is not a strategy. Did you mean channel?',
    ],
    [
      modifierRecipe("config_groups:\n  g:\n    weights: {num_bits: 4}"),
      'Recipe, line 5, column 9: targets: a config group lacks "targets".',
    ],
    [
      modifierRecipe("config_groups:\n  g:\n    targets: [Linear]\n    weights: {strategy: group}"),
      'Recipe, line 7, column 11: The strategy "group" needs a positive group_size.',
    ],
    [
      modifierRecipe(
        "config_groups:\n  g:\n    targets: [Linear]\n    weights: {num_bits: 4, type: float, group_size: 16}",
      ),
      "Recipe, line 7, column 11: 4-bit floats are NVFP4",
    ],
    [
      modifierRecipe(
        "config_groups:\n  g:\n    targets: [Linear]\n    weights: {}\n    input_activations: {strategy: token}",
      ),
      'Recipe, line 8, column 11: Static activations have one scale (strategy "tensor"); "token" needs dynamic: true.',
    ],
    [
      modifierRecipe(
        "config_groups:\n  g:\n    targets: [Linear]\n    weights: {}\n    output_activations: {num_bits: 8}",
      ),
      "output_activations cannot be quantized here",
    ],
    [
      modifierRecipe(
        "config_groups:\n  g:\n    targets: [Linear]\n    input_activations: {strategy: token, dynamic: true}",
      ),
      "Recipe, line 7, column 11: g quantizes inputs and no weights, which would leave every file as it is: give it weights",
    ],
    [
      modifierRecipe("scheme: W4A16\nconfig_groups: {g: {targets: [Linear]}}"),
      "Recipe, line 4, column 7: Give either scheme or config_groups, not both.",
    ],
    [
      modifierRecipe("targets: ['re:.*q_proj']\nconfig_groups: {g: {targets: [Linear], weights: {}}}"),
      "Recipe, line 4, column 7: config_groups have targets of their own, so that these would change nothing: leave them out.",
    ],
    [
      modifierRecipe("targets: ['re:.*q_proj']\nscheme: {W8A16: [Linear]}"),
      "Recipe, line 4, column 7: The presets of scheme have targets of their own",
    ],
    [
      modifierRecipe(
        "weight_observer: memoryless_minmax\nconfig_groups: {g: {targets: [Linear], weights: {observer: mse}}}",
      ),
      "The modifier names the observer memoryless_minmax for all of its groups, and g the observer mse: give only one of them.",
    ],
    [
      modifierRecipe(
        "observer: {input: minmax}\nconfig_groups: {g: {targets: [Linear], weights: {}, input_activations: {observer: static_minmax}}}",
      ),
      "The modifier names the observer minmax for all of its groups, and g the observer static_minmax",
    ],
    [
      "q_stage:\n  run_type: oneshot\n  q_modifiers:\n    QuantizationModifier: {scheme: W4A16}",
      'Recipe, line 2, column 3: Nothing would be done for "run_type" here: leave it out.',
    ],
    [
      `version: 1.0\n${modifierRecipe("scheme: W4A16")}`,
      'Recipe, line 1, column 1: Nothing would be done for "version" here: leave it out.',
    ],
    [
      `args: {bits: 4}\n${modifierRecipe("scheme: W4A16")}`,
      'Recipe, line 1, column 8: Nothing is filled in from args: write "bits" where it belongs, and leave args out.',
    ],
    [modifierRecipe("targets: [Linear]"), "QuantizationModifier says nothing to quantize to"],
    [
      modifierRecipe("scheme: W4A16\ntargets: ['re:.*(']"),
      'Recipe, line 5, column 7: "re:.*(" is not a regular expression that can be used',
    ],
    [
      modifierRecipe("scheme: W4A16\nignore: ['re:(a+)++$']"),
      'Recipe, line 5, column 7: "re:(a+)++$" is not a regular expression that can be used: possessive repeats',
    ],
    [modifierRecipe("scheme: W4A16\nweight_observer: imatrix"), "Recipe, line 5, column 7: weight_observer:"],
    [
      modifierRecipe(
        "actorder: null\nconfig_groups: {g: {targets: [Linear], weights: {actorder: group, group_size: 32}}}",
        "GPTQModifier",
      ),
      "Recipe, line 4, column 7: The modifier's actorder null and that of g, group, differ",
    ],
    [
      modifierRecipe("scheme: NVFP4A16\nactorder: group", "GPTQModifier"),
      'Recipe, line 5, column 7: group_0: actorder "group" needs weight_g_idx, which no loader reads for 4-bit floats',
    ],
    [
      modifierRecipe("scheme: FP8_BLOCK\nweight_observer: imatrix_mse"),
      "with one scale a block take memoryless_mse",
    ],
  ])("names line, column and reason: %j", (text, expected) => {
    expect(problemOf(text)).toContain(expected);
  });

  it("is bounded in size and in aliases", () => {
    expect(problemOf(`a_stage: ${" ".repeat(300_000)}`)).toContain("at most 200000 are read");
    const bomb = `x: &a [1,1,1,1,1,1,1,1]\ny: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nz: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nw: [*c,*c,*c,*c,*c,*c,*c,*c]`;
    expect(problemOf(bomb)).toContain("refers to parts of itself too often");
  });

  it.each(["[".repeat(4000), "{a: ".repeat(1000), "- ".repeat(3000), "? ".repeat(3000)])(
    "is bounded in depth: %.4s…",
    (text) => {
      expect(problemOf(text)).toMatch(
        /line 1, column \d+: The recipe nests its values more than 50 levels deep/,
      );
    },
  );

  it.each(["]", "&a ", "a: 1\n", "%a\n", ": "])("is bounded in words and signs: %j", (text) => {
    expect(problemOf(text.repeat(190_000 / text.length))).toContain("more than 10000 words and signs");
  });

  it("is told of even where it contains itself", () => {
    expect(problemOf(modifierRecipe("&m\n      scheme: W4A16\n      ignore: [*m]"))).toContain(
      "a circle is not text",
    );
  });
});
