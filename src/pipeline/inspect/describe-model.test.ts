import { expect, it } from "vitest";
import type { ModelConfig } from "../../plan/read-config.ts";
import type { SourceTensor } from "../../plan/read-headers.ts";
import { lackingNote } from "./describe-model.ts";

const sizes = {
  hidden_size: 64,
  intermediate_size: 64,
  vocab_size: 64,
  num_attention_heads: 4,
  num_hidden_layers: 1,
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
  expect(lackingNote({ config, tensors: tensors("model.embed_tokens.weight") })).toMatch(
    /^The files lack lm_head\.weight, model\.norm\.weight, model\.layers\.0\.\S+ and 8 more tensors, which .* random numbers/,
  );
});

it("says nothing of a model that is not known", () => {
  const unknown = { ...config, raw: { ...raw, model_type: "llama-of-somebody" } };
  expect(lackingNote({ config: unknown, tensors: tensors("model.embed_tokens.weight") })).toBeNull();
});
