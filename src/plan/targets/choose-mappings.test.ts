import { describe, expect, it } from "vitest";
import type { MappingTargets, RewritingModifier } from "../../formats/recipe/recipe.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { layerLinears } from "../../model/layer-linears.ts";
import { loadCheckpoint } from "../../testing/fixtures/load-checkpoint.ts";
import { createMappingChooser } from "./choose-mappings.ts";

const SMOOTHQUANT: RewritingModifier = {
  name: "SmoothQuantModifier",
  mappings: null,
  ignore: [],
  settings: { smoothing_strength: 0.5, algorithm: "smoothquant" },
};
const AWQ: RewritingModifier = {
  name: "AWQModifier",
  mappings: null,
  ignore: [],
  settings: { duo_scaling: true, n_grid: 20 },
};

function chosen(
  name: string,
  mappings: readonly MappingTargets[] | null,
  ignore: readonly string[] = [],
): string[] {
  return chosenBy({ ...SMOOTHQUANT, mappings, ignore }, name);
}

/** Last words of the modules whose output a fixture's first layer divides; all Linears but those `kept` are quantized. */
function chosenBy(modifier: RewritingModifier, name: string, kept = /$^/): string[] {
  const { config, tensors } = loadCheckpoint(name);
  const { layers } = describeDecoder(
    config,
    tensors.map((tensor) => tensor.name),
  );
  const chooser = createMappingChooser(modifier);
  const found = layers.map((layer) => {
    const modules = layerLinears(layer).map(({ module }) => module);
    return chooser.choose(layer, new Set(modules.filter((module) => !kept.test(module))));
  });
  chooser.checkUsed();
  return (found[0] ?? []).map(({ smooth }) => smooth.split(".").at(-1) ?? "");
}

const UP: MappingTargets = { smooth_layer: "re:.*up_proj$", balance_layers: ["re:.*down_proj$"] };

describe("SmoothQuant's mappings", () => {
  it("are the norms before attention and MLP", () => {
    expect(chosen("llama", null)).toEqual(["input_layernorm", "post_attention_layernorm"]);
  });

  it("leave experts alone", () => {
    expect(chosen("mixtral", null)).toEqual(["input_layernorm"]);
  });

  it("are those before mixers of every kind, and not the norms of latents", () => {
    expect(chosen("deepseek-v3", null)).toEqual(["input_layernorm", "post_attention_layernorm"]);
    expect(chosen("qwen3-next", null)).toEqual(["input_layernorm"]);
    expect(chosen("falcon-h1", null)).toEqual(["input_layernorm", "pre_ff_layernorm"]);
  });

  it("are the recipe's own where it has some", () => {
    expect(chosen("llama", [UP])).toEqual(["up_proj"]);
  });

  it("balance a router that the recipe does not name", () => {
    const experts = { smooth_layer: "re:.*post_attention_layernorm", balance_layers: ["re:.*w[13]$"] };
    expect(chosen("mixtral", [experts])).toEqual(["post_attention_layernorm"]);
  });

  it("are left out where all of their modules are ignored, and only there", () => {
    expect(chosen("llama", null, ["re:.*(q_proj|k_proj|v_proj|input_layernorm)$"])).toEqual([
      "post_attention_layernorm",
    ]);
    expect(chosen("llama", null, ["re:.*q_proj$"])).toHaveLength(2);
  });

  it("are refused where they match nothing, or would change the model", () => {
    const lost = { ...UP, smooth_layer: "re:.*upp_proj$" };
    expect(() => chosen("llama", [UP, lost])).toThrow(
      "the mapping of re:.*upp_proj$ to re:.*down_proj$ matches nothing in this model",
    );
    const half = { smooth_layer: "re:.*input_layernorm$", balance_layers: ["re:.*[qk]_proj$"] };
    expect(() => chosen("llama", [half])).toThrow(
      "model.layers.0.input_layernorm is read by model.layers.0.self_attn.v_proj too",
    );
    expect(() => chosen("olmo2", null)).toThrow("SmoothQuantModifier finds nothing to do in this model");
  });
});

describe("AWQ's mappings", () => {
  it("are those of latents, too, and leave the norm before Mamba-2", () => {
    expect(chosenBy(AWQ, "deepseek-v3").slice(0, 3)).toEqual([
      "input_layernorm",
      "q_a_layernorm",
      "kv_a_layernorm",
    ]);
    expect(chosenBy(AWQ, "falcon-h1")).toEqual(["pre_ff_layernorm", "up_proj"]);
  });

  it("are all along which factors pass", () => {
    expect(chosenBy(AWQ, "llama")).toEqual(["input_layernorm", "post_attention_layernorm", "up_proj"]);
    expect(chosenBy(AWQ, "mixtral").slice(0, 3)).toEqual([
      "input_layernorm",
      "post_attention_layernorm",
      "w3",
    ]);
  });

  it("are left out where nothing behind them is quantized", () => {
    expect(chosenBy(AWQ, "llama", /down_proj|[qk]_proj/)).toEqual([
      "input_layernorm",
      "post_attention_layernorm",
    ]);
    expect(() => chosenBy(AWQ, "llama", /proj/)).toThrow("hand factors on to Linears that are quantized");
  });

  it("pass over values that several heads share, which LLM Compressor names in every recipe", () => {
    const values = { smooth_layer: "re:.*v_proj$", balance_layers: ["re:.*o_proj$"] };
    expect(chosenBy({ ...AWQ, mappings: [values, UP] }, "llama")).toEqual(["up_proj"]);
  });
});
