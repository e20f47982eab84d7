import { describe, expect, it } from "vitest";
import { tensorBytes, type TensorSpec } from "../../formats/safetensors/safetensors.ts";
import { NAMES_ALONE } from "../../model/linear-classes.ts";
import { dequantizedTensors } from "./dequantized-tensors.ts";
import { readQuantization } from "./read-quantization.ts";
import type { SourceTensor } from "./read-headers.ts";
import { summarizeQuantization } from "./summarize-quantization.ts";

const weights = { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 64 };
const config = {
  dtype: "bfloat16",
  quantization_config: {
    quant_method: "compressed-tensors",
    format: "mixed-precision",
    ignore: ["lm_head"],
    config_groups: {
      group_0: { targets: ["Linear"], weights, format: "pack-quantized" },
      group_1: {
        targets: ["re:.*down_proj"],
        weights: { num_bits: 8, type: "float", symmetric: true, strategy: "channel" },
        input_activations: { num_bits: 8, type: "float", symmetric: true, strategy: "token", dynamic: true },
        format: "float-quantized",
      },
      group_2: {
        targets: ["re:.*layers.[05].mlp.up_proj", "re:.*layers.1.mlp.up_proj"],
        weights: { ...weights, num_bits: 8 },
        format: "pack-quantized",
      },
    },
    kv_cache_scheme: { num_bits: 8, type: "float", symmetric: true, strategy: "tensor", dynamic: false },
  },
};

function layer(index: number): TensorSpec[] {
  const up = `model.layers.${index}.mlp.up_proj`;
  const down = `model.layers.${index}.mlp.down_proj`;
  const isWide = [0, 1, 5].includes(index);
  return [
    { name: `${up}.weight_packed`, dtype: "I32", shape: [256, isWide ? 32 : 16] },
    { name: `${up}.weight_shape`, dtype: "I64", shape: [2] },
    { name: `${up}.weight_scale`, dtype: "BF16", shape: [256, 2] },
    { name: `${down}.weight`, dtype: "F8_E4M3", shape: [128, 256] },
    { name: `${down}.weight_scale`, dtype: "BF16", shape: [128, 1] },
    { name: `${down}.bias`, dtype: "BF16", shape: [128] },
    { name: `model.layers.${index}.self_attn.k_scale`, dtype: "BF16", shape: [1] },
  ];
}

function model(): SourceTensor[] {
  const specs: TensorSpec[] = [
    { name: "lm_head.weight", dtype: "BF16", shape: [300, 128] },
    ...Array.from({ length: 6 }, (_, index) => layer(index)).flat(),
  ];
  return specs.map((spec) => ({ ...spec, start: 0, end: tensorBytes(spec), file: "f" }));
}

async function summary() {
  const tensors = model();
  const read = async () => await Promise.resolve(new Uint8Array());
  const seen = await dequantizedTensors({ label: "m", tensors, config, method: "compressed-tensors", read });
  const method = "compressed-tensors";
  const kvCache = readQuantization(config)?.kvCache ?? null;
  return summarizeQuantization({ method, stored: tensors, seen, kvCache, classes: NAMES_ALONE });
}

describe("what inspection says of a quantized model", () => {
  it("is a line for each kind of module and scheme, by their layers where only some have it", async () => {
    const { modules, kept } = await summary();
    const lines = modules.map(({ name, count, scheme, detail }) => `${count} ${name} ${scheme} (${detail})`);
    expect(lines).toEqual([
      "3 model.layers.{0-1,5}.mlp.up_proj W8A16-G64 (group 64, pack-quantized)",
      "6 model.layers.*.mlp.down_proj FP8_DYNAMIC (a scale per channel, float-quantized)",
      "3 model.layers.{2-4}.mlp.up_proj W4A16-G64 (group 64, pack-quantized)",
    ]);
    expect(kept.map(({ name, count, scheme }) => `${count} ${name} ${scheme}`)).toEqual([
      "1 lm_head.weight BF16",
      "6 model.layers.*.mlp.down_proj.bias BF16",
    ]);
  });

  it("counts scales with the weights that they belong to, and no bias", async () => {
    const { modules, bitsPerWeight, totalBitsPerWeight } = await summary();
    const weightsEach = 256 * 128;
    expect(modules.map(({ bytes, weights: count }) => [bytes, count])).toEqual([
      [3 * (weightsEach + 256 * 2 * 2 + 16), 3 * weightsEach],
      [6 * (weightsEach + 128 * 2), 6 * weightsEach],
      [3 * (weightsEach / 2 + 256 * 2 * 2 + 16), 3 * weightsEach],
    ]);
    const bytes = modules.reduce((sum, group) => sum + group.bytes, 0);
    expect(bitsPerWeight).toBeCloseTo((bytes * 8) / (12 * weightsEach), 12);
    const all = bytes + 300 * 128 * 2 + 6 * 128 * 2 + 6 * 2;
    expect(totalBitsPerWeight).toBeCloseTo((all * 8) / (12 * weightsEach + 300 * 128 + 6 * 128), 12);
  });

  it("names the schemes, the one of the most weights first, the cache, and the size of plain weights", async () => {
    expect(await summary()).toMatchObject({
      schemes: ["FP8_DYNAMIC", "W8A16-G64", "W4A16-G64"],
      kvCache: "FP8, one scale for keys and one for values",
      dequantizedBytes: 12 * 256 * 128 * 2 + 300 * 128 * 2 + 6 * 128 * 2,
      dequantizedDtype: "BF16",
    });
  });
});
