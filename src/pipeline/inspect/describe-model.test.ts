import { expect, it } from "vitest";
import type { ModelConfig } from "../../plan/checkpoint/read-config.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { lackingNote } from "./describe-model.ts";

const sizes = {
  hidden_size: 64,
  intermediate_size: 64,
  vocab_size: 64,
  num_attention_heads: 4,
  num_hidden_layers: 2,
};
const raw = { model_type: "llama", architectures: ["LlamaForCausalLM"], ...sizes };
const config: ModelConfig = {
  raw,
  text: JSON.stringify(raw),
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  quantMethod: null,
};

function tensors(...names: readonly string[]): SourceTensor[] {
  return names.map((name) => ({
    name,
    dtype: "BF16",
    shape: [64, 64],
    start: 0,
    end: 8192,
    file: "model.safetensors",
  }));
}

it("names three of the tensors that the files lack, and how many more", () => {
  const parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
  const rest = [
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "input_layernorm",
    "post_attention_layernorm",
  ];
  const names = [...parts, ...rest].map((part) => `model.layers.0.${part}.weight`);
  const whole = ["model.embed_tokens.weight", "model.norm.weight", ...names];
  expect(lackingNote({ config, tensors: tensors(...whole) })).toMatch(
    /^The files lack lm_head\.weight, model\.layers\.1\.\S+, model\.layers\.1\.\S+ and 7 more tensors, which .* random numbers/,
  );
  expect(lackingNote({ config, tensors: tensors("model.embed_tokens.weight") })).toBeNull();
});

it("says nothing of a model that is not known", () => {
  const unknown = { ...config, raw: { ...raw, model_type: "llama-of-somebody" } };
  expect(lackingNote({ config: unknown, tensors: tensors("model.embed_tokens.weight") })).toBeNull();
});
