import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { resultConfig } from "./quantization-config.ts";

function withQuantization(source: string): string {
  return resultConfig(source, { quant_method: "compressed-tensors" });
}

describe("resultConfig", () => {
  it.each(["gemma2", "mixtral", "granite"])("changes no other line of a config.json (%s)", (name) => {
    const source = readFileSync(`e2e/fixtures/architectures/${name}/config.json`, "utf8");
    const lines = new Set(withQuantization(source).split("\n"));
    const changed = source.split("\n").filter((line) => !lines.has(line) && !/1e-0\d/.test(line));
    expect(changed).toEqual([]);
  });

  it("keeps floats, integers and strings apart", () => {
    const source =
      '{"a": 30.0, "b": 30, "c": "30.0", "d": 1e6, "e": -0.5, "f": [1.0, 2], "g": "say \\"1.0\\""}';
    const result = resultConfig(source, null);
    expect(result).toBe(
      '{\n  "a": 30.0,\n  "b": 30,\n  "c": "30.0",\n  "d": 1000000.0,\n  "e": -0.5,\n  "f": [\n    1.0,\n    2\n  ],\n  "g": "say \\"1.0\\""\n}\n',
    );
  });

  it("keeps integers that no double holds", () => {
    const source =
      '{"a": 1000000000000000019884624838656, "b": [-12345678901234567890, 9007199254740991], "c": "7"}';
    expect(resultConfig(source, null).replaceAll(/\s+/g, "")).toBe(
      '{"a":1000000000000000019884624838656,"b":[-12345678901234567890,9007199254740991],"c":"7"}',
    );
  });

  it("writes the numbers that JSON has not as Python reads them", () => {
    const source = '{"limit": [0.0, Infinity, -Infinity], "x": NaN, "s": "NaN, Infinity"}';
    expect(resultConfig(source, null)).toBe(
      '{\n  "limit": [\n    0.0,\n    Infinity,\n    -Infinity\n  ],\n  "s": "NaN, Infinity",\n  "x": NaN\n}\n',
    );
  });

  it("leaves no older word of a quantization, wherever it stood", () => {
    const source =
      '{"compression_config": {}, "text_config": {"quantization_config": {}, "hidden_size": 8}, "vision_config": {"depth": 2}}';
    expect(JSON.parse(withQuantization(source))).toEqual({
      quantization_config: { quant_method: "compressed-tensors" },
      text_config: { hidden_size: 8 },
      vision_config: { depth: 2 },
    });
  });

  it("replaces a quantization that the source has, and leaves it out where nothing is quantized", () => {
    const source = '{"quantization_config": {"quant_method": "fp8"}, "vocab_size": 8}';
    expect(JSON.parse(withQuantization(source)).quantization_config).toEqual({
      quant_method: "compressed-tensors",
    });
    expect(JSON.parse(resultConfig(source, null))).toEqual({ vocab_size: 8 });
  });
});
