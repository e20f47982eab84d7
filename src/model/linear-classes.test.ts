import { describe, expect, it } from "vitest";
import { linearClasses, NAMES_ALONE } from "./linear-classes.ts";

const of = (type: string) => linearClasses({ model_type: type });

describe("classes of weights by architecture", () => {
  it.each([
    ["lfm2", "model.layers.0.conv.in_proj", "linear"],
    ["lfm2", "model.layers.0.conv.out_proj", "linear"],
    ["gpt2", "transformer.h.0.attn.c_attn", "turned"],
    ["gpt2", "transformer.wpe", "embedding"],
    ["gpt_neox", "embed_out", "linear"],
    ["gpt_neox", "gpt_neox.embed_in", "embedding"],
    ["mixtral", "model.layers.3.block_sparse_moe.experts.7.w2", "linear"],
    ["mixtral", "model.layers.3.block_sparse_moe.gate", "other"],
    ["jamba", "model.layers.1.mamba.x_proj", "linear"],
    ["deepseek_v3", "model.layers.3.self_attn.kv_a_proj_with_mqa", "linear"],
    ["deepseek_v3", "model.layers.3.self_attn.q_proj", "linear"],
    ["whisper", "proj_out", "linear"],
    ["hrm_text", "model.H_module.layers.0.mlp.gate_up_proj", "converted"],
    ["bamba", "model.layers.1.self_attn.q_proj", "linear"],
    ["llama", "score_head", null],
  ] as const)("of %s: %s is %s", (type, module, expected) => {
    expect(of(type).complete).toBe(true);
    expect(of(type).classOf(module)).toBe(expected);
  });

  it("are those of the parts where a multimodal model has another text model than usual", () => {
    const config = { model_type: "llava", text_config: { model_type: "lfm2" }, vision_config: null };
    expect(linearClasses(config).classOf("language_model.model.layers.0.conv.in_proj")).toBe("linear");
  });

  it("are left to names where a type is not in the table", () => {
    expect(NAMES_ALONE.complete).toBe(false);
    expect(of("nobody-knows").complete).toBe(false);
    const mixed = linearClasses({ model_type: "nobody-knows", text_config: { model_type: "llama" } });
    expect(mixed.complete).toBe(false);
    expect(mixed.classOf("model.layers.0.mlp.up_proj")).toBe("linear");
  });

  it("survive a config.json that means ill", () => {
    expect(of("__proto__").complete).toBe(false);
    expect(of("constructor").classOf("constructor")).toBeNull();
    expect(linearClasses({ model_type: 7, text_config: [], a: { model_type: "" } }).complete).toBe(false);
  });
});

describe("names that the loader gives modules", () => {
  it.each([
    ["llava", "language_model.lm_head", "lm_head"],
    ["llava", "language_model.model.layers.11.mlp.up_proj", "model.language_model.layers.11.mlp.up_proj"],
    [
      "llava",
      "vision_tower.vision_model.encoder.layers.2.mlp.fc1",
      "model.vision_tower.encoder.layers.2.mlp.fc1",
    ],
    ["llava", "model.language_model.layers.11.mlp.up_proj", "model.language_model.layers.11.mlp.up_proj"],
    ["qwen2_vl", "visual.blocks.0.attn.qkv", "model.visual.blocks.0.attn.qkv"],
    ["qwen2_vl", "model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj"],
    ["qwen2_vl", "model.language_model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj"],
    ["mixtral", "model.layers.3.block_sparse_moe.gate", "model.layers.3.mlp.gate"],
    ["gpt_neox", "embed_out", "lm_head"],
    ["llama", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"],
    ["nobody-knows", "encoder.0.up", "encoder.0.up"],
  ])("of %s: %s is %s", (type, module, expected) => {
    expect(of(type).loadedAs(module)).toEqual([expected]);
  });

  it("are several where loading splits a weight", () => {
    expect(of("hrm_text").loadedAs("model.L_module.layers.5.mlp.gate_up_proj")).toEqual([
      "model.L_module.layers.5.mlp.gate_proj",
      "model.L_module.layers.5.mlp.up_proj",
    ]);
  });
});
