import { describe, expect, it } from "vitest";
import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { readQuantization } from "./read-quantization.ts";

const weights = { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 128 };
const config = (own: object) => ({
  quantization_config: {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    config_groups: { group_0: { targets: ["Linear"], weights } },
    ignore: ["lm_head"],
    ...own,
  },
});

describe("the quantization of a stored model", () => {
  it("is none where config.json has none", () => {
    expect(readQuantization({ model_type: "llama" })).toBeNull();
  });

  it("gives each module its scheme, and ignored ones none", () => {
    const quantization = readQuantization(config({}));
    const scheme = quantization?.schemeOf("model.layers.0.mlp.up_proj");
    expect(scheme).toMatchObject({ format: "pack-quantized", weights, input_activations: null });
    expect(quantization?.schemeOf("lm_head")).toBeNull();
    expect(quantization?.kvCache).toBeNull();
  });

  it("takes a group's own format in a model of several", () => {
    const config_groups = {
      group_0: { targets: ["re:.*down_proj"], weights: { ...weights, num_bits: 8 }, format: "int-quantized" },
      group_1: { targets: ["Linear"], weights, format: "pack-quantized" },
    };
    const quantization = readQuantization(config({ format: "mixed-precision", config_groups }));
    expect(quantization?.schemeOf("model.layers.0.mlp.down_proj")?.format).toBe("int-quantized");
    expect(quantization?.schemeOf("model.layers.0.mlp.up_proj")?.format).toBe("pack-quantized");
  });

  it("takes the sizes of a block as numbers or as text", () => {
    for (const block_structure of [[128, 64], "128x64"]) {
      const blocks = { ...weights, type: "float", num_bits: 8, strategy: "block", group_size: null };
      const config_groups = { group_0: { targets: ["Linear"], weights: { ...blocks, block_structure } } };
      const scheme = readQuantization(config({ format: "float-quantized", config_groups }))?.schemeOf("m");
      expect(scheme?.weights?.block_structure).toEqual([128, 64]);
    }
  });

  it("is refused where another library wrote it", () => {
    expect(() => readQuantization({ quantization_config: { quant_method: "awq" } })).toThrow(
      UnsupportedModelError,
    );
  });

  it("is answered at once, whatever pattern it ignores", () => {
    for (const pattern of ["re:(.|.)*!", "re:(?=(.|.)*!)", "re:(.{0,9}){0,9}!"]) {
      const quantization = readQuantization(config({ ignore: [pattern] }));
      expect(quantization?.schemeOf(`model.layers.0.${"x".repeat(200)}`)).not.toBeNull();
    }
  });

  it("is refused for a pattern that cannot be used, and not as a recipe", () => {
    const read = () => readQuantization(config({ ignore: ["re:("] }));
    expect(read).toThrow(MalformedModelError);
    expect(read).toThrow('config.json: quantization_config: "re:("');
    const many = Array.from({ length: 1000 }, (_, index) => `re:(${index}.{30}){30}!`);
    expect(() => readQuantization(config({ ignore: many }))).toThrow(/too many patterns/);
  });

  it("is refused where it breaks its form, by the name of the field", () => {
    const config_groups = { group_0: { targets: ["Linear"], weights: { ...weights, num_bits: "four" } } };
    const read = () => readQuantization(config({ config_groups }));
    expect(read).toThrow(MalformedModelError);
    expect(read).toThrow("config_groups.group_0.weights.num_bits");
  });
});
