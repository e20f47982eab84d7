import { describe, expect, it } from "vitest";
import { findScheme } from "../../formats/schemes/presets.ts";
import { activationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import { needsCalibration, quantizingModifiers } from "../../formats/recipe/recipe.ts";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { modifierRecipe } from "../../testing/modifier-recipe.ts";
import { defaultControls, recipeFromControls } from "./choose-recipe.ts";
import { parseRecipe } from "./parse-recipe.ts";

function controlled(scheme: string, ignore: readonly string[], group_size: number | null = null) {
  return recipeFromControls({ ...defaultControls(scheme), ignore, group_size });
}

function quantizersIn(text: string) {
  return quantizingModifiers(parseRecipe(text));
}

describe("recipes of LLM Compressor's structure", () => {
  it("name a preset, in any case", () => {
    const recipe = parseRecipe(modifierRecipe("targets: [Linear]\nscheme: w4a16_asym\nignore: [lm_head]"));
    expect(recipe).toEqual(controlled("W4A16_ASYM", ["lm_head"]));
  });

  it("are read as LLM Compressor writes them", () => {
    const written = `default_stage:
  default_modifiers:
    GPTQModifier:
      targets: [Linear]
      ignore: [lm_head]
      scheme: W4A16
      bypass_divisibility_checks: false
      requires_calibration_data: true
      block_size: 128
      dampening_frac: 0.01
      actorder: static
      offload_hessians: false
`;
    const [gptq] = quantizersIn(written);
    expect(gptq).toMatchObject({ settings: { block_size: 128, dampening_frac: 0.01 } });
    expect(gptq?.groups[0]?.scheme.weights?.actorder).toBe("static");
    expect(gptq?.groups[0]?.preset).toBe("W4A16");
  });

  it("are read with the tags that PyYAML gives to words of Python's enumerations", () => {
    const tag = "!!python/object/apply:compressed_tensors.quantization.quant_args.";
    const weights = (strategy: string, actorder: string) => `config_groups:
  group_0:
    targets: [Linear]
    weights:
      num_bits: 4
      group_size: 32
      strategy: ${strategy}
      actorder: ${actorder}`;
    const written = weights(
      `${tag}QuantizationStrategy [\n        group]`,
      `${tag}ActivationOrdering\n      - weight`,
    );
    expect(parseRecipe(modifierRecipe(written, "GPTQModifier"))).toEqual(
      parseRecipe(modifierRecipe(weights("group", "weight"), "GPTQModifier")),
    );
    const two = weights(`${tag}QuantizationStrategy [group, channel]`, "weight");
    expect(() => parseRecipe(modifierRecipe(two, "GPTQModifier"))).toThrow(
      /line 10, column \d+: QuantizationStrategy stands for one word/,
    );
  });

  it("map presets to targets", () => {
    const [only] = quantizersIn(
      modifierRecipe('scheme:\n  W4A16: "re:.*self_attn.*"\n  FP8_DYNAMIC: ["re:.*mlp.*", model.head]'),
    );
    expect(only?.groups.map(({ preset, targets }) => [preset, targets])).toEqual([
      ["W4A16", ["re:.*self_attn.*"]],
      ["FP8_DYNAMIC", ["re:.*mlp.*", "model.head"]],
    ]);
  });

  it("spell out config groups: floats by channel, activations by token", () => {
    const [only] = quantizersIn(
      modifierRecipe(`ignore: ["lm_head", "re:.*visual.*"]
config_groups:
  group_0:
    weights:
      num_bits: 8
      type: "float"
      symmetric: true
      strategy: "channel"
      dynamic: false
    input_activations: {num_bits: 8, type: float, symmetric: true, strategy: token, dynamic: true}
    targets: ["Linear"]`),
    );
    expect(only?.groups[0]?.scheme).toEqual(findScheme("FP8_DYNAMIC")?.scheme);
    expect(only?.ignore).toEqual(["lm_head", "re:.*visual.*"]);
  });

  it("mix NVFP4 and FP8 in one model", () => {
    const [only] = quantizersIn(
      modifierRecipe(`ignore: [lm_head]
config_groups:
  group_0:
    weights: {num_bits: 8, type: float, strategy: channel, symmetric: true}
    input_activations: {num_bits: 8, type: float, strategy: token, dynamic: true, symmetric: true}
    targets: ["re:.*\\\\.down_proj$"]
  group_1:
    weights:
      {num_bits: 4, type: float, strategy: tensor_group, symmetric: true, group_size: 16, scale_dtype: float8_e4m3fn}
    input_activations: {num_bits: 4, type: float, strategy: tensor_group, dynamic: local, group_size: 16}
    targets:
      - "re:.*self_attn\\\\.(k|o|q|v)_proj$"
      - "re:.*\\\\.(gate|up)_proj$"`),
    );
    expect(only?.groups[0]?.targets).toEqual(["re:.*\\.down_proj$"]);
    expect(only?.groups[1]?.scheme.weights).toEqual(findScheme("NVFP4A16")?.scheme.weights);
    expect(only?.groups[1]?.scheme.input_activations).toMatchObject({ dynamic: "local", observer: "minmax" });
  });

  it("infer the strategy from the group size", () => {
    const strategies = ["group_size: 64", "group_size: -1", ""].map((size) => {
      const [only] = quantizersIn(
        modifierRecipe(`config_groups: {g: {targets: [Linear], weights: {num_bits: 4, ${size}}}}`),
      );
      const weights = only?.groups[0]?.scheme.weights;
      return [weights?.strategy, weights?.group_size];
    });
    expect(strategies).toEqual([
      ["group", 64],
      ["channel", null],
      ["tensor", null],
    ]);
  });

  it("hold several modifiers, each with its own targets", () => {
    const recipe = parseRecipe(`quant_stage:
  quant_modifiers:
    QuantizationModifier:
      ignore: ["lm_head"]
      scheme: "W4A16"
      targets: "re:.*self_attn\\\\.(k|q|o|v)_proj$"
    GPTQModifier:
      ignore: ["lm_head"]
      scheme: "W8A8"
      targets: ["re:.*mlp\\\\.(down|gate|up)_proj$"]
      dampening_frac: 0.001
      actorder: null
`);
    expect(recipe.modifiers).toMatchObject([
      { name: "QuantizationModifier" },
      { name: "GPTQModifier", settings: { dampening_frac: 0.001 } },
    ]);
    expect(quantizingModifiers(recipe)[1]?.groups[0]?.scheme.weights?.actorder).toBeNull();
  });

  it("quantize the key-value cache, alone or beside weights", () => {
    const cache = "kv_cache_scheme:\n  {num_bits: 8, type: float, symmetric: true, strategy: tensor}";
    const alone = parseRecipe(modifierRecipe(cache));
    expect(quantizingModifiers(alone)[0]?.groups).toEqual([]);
    expect(quantizingModifiers(alone)[0]?.kv_cache_scheme).toEqual({
      ...activationArgs({ type: "float" }),
      observer: "minmax",
    });
    expect(needsCalibration(alone)).toBe(true);
    for (const none of [
      "targets: []",
      "targets: []\nscheme: FP8",
      "config_groups: {group_0: {targets: []}}",
    ]) {
      expect(quantizersIn(modifierRecipe(`${none}\n${cache}`))[0]?.groups).toEqual([]);
    }
    const beside = parseRecipe(modifierRecipe(`scheme: FP8_DYNAMIC\n${cache}`));
    expect(quantizingModifiers(beside)[0]?.groups).toHaveLength(1);
  });

  it("name observers for all groups", () => {
    const byName = parseRecipe(modifierRecipe("scheme: W4A16\nweight_observer: memoryless_mse"));
    const byMap = parseRecipe(modifierRecipe("scheme: W4A16\nobserver: {weights: memoryless_mse}"));
    expect(byMap).toEqual(byName);
    expect(quantizingModifiers(byName)[0]?.groups[0]?.scheme.weights).toEqual(
      weightArgs({ num_bits: 4, strategy: "group", group_size: 128, observer: "memoryless_mse" }),
    );
  });

  it("keep options of groups for the observer that is named for all of them", () => {
    const group =
      "config_groups: {g: {targets: [Linear], weights: {group_size: 128, observer_kwargs: {grid: 7}}}}";
    const [named] = quantizersIn(modifierRecipe(`${group}\nweight_observer: memoryless_mse`));
    expect(named?.groups[0]?.scheme.weights).toMatchObject({
      observer: "memoryless_mse",
      observer_kwargs: { grid: 7 },
    });
  });

  it("may be JSON", () => {
    const recipe = parseRecipe(
      '{"a_stage": {"b_modifiers": {"QuantizationModifier": {"scheme": "FP8_BLOCK"}}}}',
    );
    expect(quantizingModifiers(recipe)[0]?.groups[0]?.preset).toBe("FP8_BLOCK");
  });

  it("say actorder for GPTQ: static unless the group or the modifier has another", () => {
    const actorders = ["", "actorder: weight", "actorder: group", "actorder: null", "actorder: False"].map(
      (line) => {
        const [only] = quantizersIn(modifierRecipe(`scheme: W4A16\n${line}`, "GPTQModifier"));
        return only?.groups[0]?.scheme.weights?.actorder;
      },
    );
    expect(actorders).toEqual(["static", "static", "group", null, null]);
    const [own] = quantizersIn(
      modifierRecipe(
        "config_groups: {g: {targets: [Linear], weights: {group_size: 128, actorder: group}}}",
        "GPTQModifier",
      ),
    );
    expect(own?.groups[0]?.scheme.weights?.actorder).toBe("group");
    const [ungrouped] = quantizersIn(modifierRecipe("scheme: W8A8\nactorder: group", "GPTQModifier"));
    expect(ungrouped?.groups[0]?.scheme.weights?.actorder).toBeNull();
  });

  it("need a text for imatrix_mse, whatever chooses the codes", () => {
    const weighted = parseRecipe(modifierRecipe("scheme: W4A16\nweight_observer: imatrix_mse"));
    expect(quantizingModifiers(weighted)[0]?.groups[0]?.scheme.weights?.observer).toBe("imatrix_mse");
    expect(needsCalibration(weighted)).toBe(true);
    expect(needsCalibration(parseRecipe(modifierRecipe("scheme: W4A16\nweight_observer: mse")))).toBe(false);
    const chosen = recipeFromControls({ ...defaultControls("NVFP4A16"), observer: "imatrix_mse" });
    expect(needsCalibration(chosen)).toBe(true);
    const asked = { ...defaultControls("FP8_BLOCK"), observer: "imatrix_mse" } as const;
    expect(() => recipeFromControls(asked)).toThrow(
      /FP8_BLOCK: The observer imatrix_mse weighs input columns/,
    );
  });

  it.each(["W4A16", "W4A16_ASYM", "FP8", "FP8_BLOCK", "NVFP4", "MXFP4", "W8A8"])(
    "come back from their own YAML: %s",
    (name) => {
      const plain = controlled(name, ["lm_head", "re:.*gate$"]);
      expect(parseRecipe(recipeYaml(plain))).toEqual(plain);
      const [first] = quantizingModifiers(plain);
      const [group] = first?.groups ?? [];
      if (!first || !group) throw new Error("no group");
      const custom = {
        modifiers: [{ ...first, groups: [{ ...group, preset: null, targets: ["re:.*x.*"] }] }],
      };
      expect(parseRecipe(recipeYaml(custom))).toEqual(custom);
    },
  );

  it("come back with two modifiers of one kind", () => {
    const first = controlled("W4A16", ["lm_head"], 64).modifiers;
    const second = controlled("FP8_DYNAMIC", []).modifiers;
    const recipe = { modifiers: [...first, ...second] };
    expect(parseRecipe(recipeYaml(recipe))).toEqual(recipe);
  });
});
