import { describe, expect, it } from "vitest";
import { MalformedModelError } from "../../errors.ts";
import { readConfig, tiesHead } from "./read-config.ts";

const read = (text: string) => readConfig(new TextEncoder().encode(text));

describe("readConfig", () => {
  it("reads the numbers that Python writes", () => {
    const config = read('{"model_type": "bamba", "time_step_limit": [0.0, Infinity], "x": NaN}');
    expect(config.raw).toMatchObject({ time_step_limit: [0, Infinity], x: Number.NaN });
    expect(config.modelType).toBe("bamba");
  });

  it.each([
    ['{"quantization_config": {"quant_method": "fp8"}}', "fp8"],
    ['{"quantization_config": {}}', "unknown"],
    ['{"quantization_config": null}', null],
    [
      '{"text_config": {"quantization_config": {"quant_method": "compressed-tensors"}}}',
      "compressed-tensors",
    ],
    ['{"llm_config": {"quantization_config": {"quant_method": "awq"}}}', "awq"],
    ['{"compression_config": {"config_groups": {}}}', "compressed-tensors"],
    ['{"text_config": {}}', null],
  ])("finds how a model is quantized: %s", (text, method) => {
    expect(read(text).quantMethod).toBe(method);
  });

  it("refuses what is no configuration", () => {
    for (const text of ["[]", "{", '{"model_type": 3}', '{"quantization_config": {"quant_method": 3}}']) {
      expect(() => read(text)).toThrow(MalformedModelError);
    }
  });
});

it("takes a head for tied unless config.json says that it is not", () => {
  expect(tiesHead({})).toBe(true);
  expect(tiesHead({ tie_word_embeddings: false })).toBe(false);
  expect(tiesHead({ text_config: { tie_word_embeddings: false } })).toBe(false);
  expect(tiesHead({ tie_word_embeddings: true, text_config: { tie_word_embeddings: false } })).toBe(true);
});
