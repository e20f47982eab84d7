// What config.json and tensors must be for a description of the decoder: everything else is named.

import { describe, expect, it } from "vitest";
import { loadCheckpoint } from "../testing/fixtures/load-checkpoint.ts";
import { checkShapes } from "./check-tensors.ts";
import { describeDecoder, unreadTensors } from "./describe-decoder.ts";

describe("a kilobyte of config.json", () => {
  const sizes = { hidden_size: 64, intermediate_size: 64, vocab_size: 64, num_attention_heads: 8 };
  const bomb = { model_type: "mixtral", num_hidden_layers: 1024, num_local_experts: 4096, ...sizes };

  it("describes no experts that the files do not name", () => {
    expect(() => describeDecoder(bomb, ["model.embed_tokens.weight"])).toThrow(
      'lacks the tensor "model.layers.0.block_sparse_moe.experts.0.w1.weight"',
    );
  });

  it("describes no more experts in stacked tensors than any model has", () => {
    const stacked = Array.from(
      { length: 1024 },
      (_, layer) => `model.layers.${layer}.block_sparse_moe.experts.gate_up_proj`,
    );
    expect(() => describeDecoder(bomb, ["model.embed_tokens.weight", ...stacked])).toThrow(
      "more than 65536 experts in 1024 layers",
    );
  });
});
describe("what is not understood is named", () => {
  const { config, tensors, names } = loadCheckpoint("llama");
  const change = (fields: Record<string, unknown>) => () => describeDecoder({ ...config, ...fields }, names);

  it.each([
    ["the model type", { model_type: "mamba" }, 'models of type "mamba"'],
    ["the lack of a model type", { model_type: undefined }, 'no "model_type"'],
    ["an activation", { hidden_act: "xielu" }, '"hidden_act" is "xielu"'],
    ["a rotary scaling", { rope_parameters: { rope_type: "spiral" } }, '"rope_type" is "spiral"'],
    [
      "attention to later tokens",
      { use_bidirectional_attention: true },
      '"use_bidirectional_attention" is true',
    ],
    ["attention that is not causal", { is_causal: false }, '"is_causal" is false'],
    ["windows in a family without", { layer_types: ["sliding_attention"] }, '"layer_types" is'],
    ["another kind of layer", { layer_types: ["chunked_attention"] }, "chunked_attention"],
  ])("%s", (_what, fields, message) => {
    expect(change(fields)).toThrow(message);
    expect(change(fields)).toThrow("Recipes without calibration");
    expect(change(fields)).toThrow(expect.objectContaining({ name: "UnsupportedModelError" }));
  });

  it.each([
    ["qwen2-moe", { use_sliding_window: false, layer_types: ["sliding_attention", "full_attention"] }],
    ["qwen3", { use_sliding_window: true, sliding_window: 0, max_window_layers: 0, layer_types: null }],
    ["gemma2", { sliding_window: null }],
    ["mistral-sliding", { sliding_window: 0 }],
  ])("windows of no tokens (%s)", (name, fields) => {
    const { config: own, names: all } = loadCheckpoint(name);
    expect(() => describeDecoder({ ...own, ...fields }, all)).toThrow('"sliding_window" is');
  });

  it("a limit of gpt-oss's experts that transformers does not compute with", () => {
    const { config: own, names: all } = loadCheckpoint("gpt-oss");
    expect(() => describeDecoder({ ...own, swiglu_limit: 8 }, all)).toThrow('"swiglu_limit" is 8');
  });

  it.each([
    ["no number", { hidden_size: "64" }, '"hidden_size" is "64"'],
    ["a negative size", { hidden_size: -64 }, '"hidden_size" is -64'],
    ["a size that could overflow", { intermediate_size: 2 ** 40 }, "intermediate_size"],
    ["too many layers", { num_hidden_layers: 1e9 }, "num_hidden_layers"],
    ["heads that do not divide", { num_key_value_heads: 3 }, "not a multiple of num_key_value_heads 3"],
    ["a fraction of a head", { head_dim: null, num_attention_heads: 5, num_key_value_heads: 5 }, "12.8"],
    ["an infinite base", { rope_parameters: { rope_theta: 1e300 } }, "rope_theta"],
  ])("%s is malformed", (_what, fields, message) => {
    expect(change(fields)).toThrow(message);
    expect(change(fields)).toThrow(expect.objectContaining({ name: "MalformedModelError" }));
  });

  it("a tensor that is missing, or that nothing describes", () => {
    const without = names.filter((name) => name !== "model.layers.1.mlp.up_proj.weight");
    expect(() => describeDecoder(config, without)).toThrow(
      'lacks the tensor "model.layers.1.mlp.up_proj.weight"',
    );
    const more = [...names, "model.layers.0.self_attn.q_norm.weight"];
    expect(() => describeDecoder(config, more)).toThrow(
      'The tensor "model.layers.0.self_attn.q_norm.weight" does not belong',
    );
    expect(() => describeDecoder(config, ["wte.weight"])).toThrow('no tensor "model.embed_tokens.weight"');
  });

  it("a tensor whose shape config.json contradicts", () => {
    const description = describeDecoder({ ...config, vocab_size: 300 }, names);
    expect(() => checkShapes(description, tensors)).toThrow(
      '"model.embed_tokens.weight" has the shape [256, 64]',
    );
  });

  it("but not keys and values of Gemma 4's layers that take those of an earlier one", () => {
    const { config: own, names: all } = loadCheckpoint("gemma4");
    const shared = [3, 4].flatMap((layer) =>
      ["k_proj", "v_proj", "k_norm"].map((name) => `model.layers.${layer}.self_attn.${name}.weight`),
    );
    const files = [...all, ...shared];
    expect(describeDecoder(own, files)).toEqual(describeDecoder(own, all));
    expect([...unreadTensors(own, files)]).toEqual(shared);
    expect([...unreadTensors({ ...own, num_kv_shared_layers: 0 }, files)]).toEqual([]);
  });

  it("but not old tables and other models' layers", () => {
    const more = [...names, "model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.7.mtp.weight"];
    expect(describeDecoder(config, more)).toEqual(describeDecoder(config, names));
  });
});
