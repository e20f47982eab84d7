import { expect, it } from "vitest";
import { isCarried, MAX_SMALL_FILE_BYTES } from "./small-files.ts";

it.each([
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "tokenizer.model.v3",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "tekken.json",
  "qwen.tiktoken",
  "sentencepiece.bpe.model",
  "generation_config.json",
  "chat_template.jinja",
  "chat_template.json",
  "preprocessor_config.json",
  "video_preprocessor_config.json",
  "processor_config.json",
  "modeling_custom.py",
  "LICENSE",
  "LICENSE.txt",
  "Notice.txt",
  "USE_POLICY.md",
])("carries %s", (path) => {
  expect(isCarried(path, 1000)).toBe(true);
});

it.each([
  "calibration.txt",
  "evaluation.txt",
  "reference.json",
  "config.json",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "quantization-report.json",
  "trainer_state.json",
  "all_results.json",
  "README.md",
  "recipe.yaml",
  "original/tokenizer.model",
  "../tokenizer.json",
  ".tokenizer.json",
])("leaves %s", (path) => {
  expect(isCarried(path, 1000)).toBe(false);
});

it("leaves what is larger than any tokenizer", () => {
  expect(isCarried("tokenizer.json", MAX_SMALL_FILE_BYTES + 1)).toBe(false);
});
