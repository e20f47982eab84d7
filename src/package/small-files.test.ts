import { expect, it } from "vitest";
import { isCarried, leftOutNote, MAX_SMALL_FILE_BYTES } from "./small-files.ts";

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
  "modules.json",
  "config_sentence_transformers.json",
  "sentence_bert_config.json",
  "1_Pooling/config.json",
  "2_Dense/config.json",
  "2_Dense/model.safetensors",
  "additional_chat_templates/tool_use.jinja",
  "lib/helper.py",
  "lib/deeper/helper.py",
  "__init__.py",
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
  "2_Dense/pytorch_model.bin",
  "checkpoint-10/tokenizer.json",
  "onnx/model.onnx",
  "scripts/convert.py",
  ".cache/hook.py",
  "lib/../helper.py",
  "my tokenizer.model",
  "params.json",
  ".tokenizer.json",
])("leaves %s", (path) => {
  expect(isCarried(path, 1000)).toBe(false);
});

it("leaves what is larger than any tokenizer", () => {
  expect(isCarried("tokenizer.json", MAX_SMALL_FILE_BYTES + 1)).toBe(false);
});

it("names what stays behind", () => {
  const files = (...paths: string[]) => paths.map((path) => ({ path, bytes: 10 }));
  const replaced = [
    "config.json",
    "README.md",
    "model.safetensors",
    "model.safetensors.index.json",
    "recipe.yaml",
  ];
  expect(leftOutNote(files(...replaced, ".gitattributes", "tokenizer.json", "lib/x.py"))).toBeNull();
  expect(leftOutNote(files("params.json"))).toMatch(/^A file stays behind: params\.json\./);
  const many = files(...["h", "g", "f", "e", "d", "c", "b", "a"].map((name) => `${name}.bin`));
  expect(leftOutNote(many)).toMatch(/^8 files stay behind: a\.bin, b\.bin, .*, f\.bin and 2 more\./);
});

it("says that a tokenizer is too large to come along, and does not say that the result has it", () => {
  const large = { path: "tokenizer.json", bytes: 2 * MAX_SMALL_FILE_BYTES };
  expect(leftOutNote([large])).toBe(
    "A file stays behind: tokenizer.json (191 MiB), being larger than any such file is known to be (95.4 MiB). Copy what the result needs of this yourself.",
  );
});
