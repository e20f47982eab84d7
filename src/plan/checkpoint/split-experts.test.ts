import { describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import type { SourceTensor } from "./read-headers.ts";
import { splitExperts } from "./split-experts.ts";

function tensor(name: string, shape: readonly number[], start: number): SourceTensor {
  const dtype = "BF16";
  return { name, dtype, shape, start, end: start + tensorBytes({ name, dtype, shape }), file: "f" };
}

describe("experts in one tensor", () => {
  it("are Linears that lie in its bytes one after the other", () => {
    const split = splitExperts([
      tensor("model.layers.0.mlp.experts.gate_up_proj", [2, 12, 8], 100),
      tensor("model.layers.0.mlp.experts.down_proj", [2, 8, 6], 484),
      tensor("model.layers.0.mlp.gate.weight", [2, 8], 676),
    ]);
    expect(split.transposed.size).toBe(0);
    const lines = split.tensors.map(
      ({ name, shape, start, end }) => `${name} ${shape.join("x")} ${start}-${end}`,
    );
    expect(lines).toEqual([
      "model.layers.0.mlp.experts.0.gate_proj.weight 6x8 100-196",
      "model.layers.0.mlp.experts.0.up_proj.weight 6x8 196-292",
      "model.layers.0.mlp.experts.1.gate_proj.weight 6x8 292-388",
      "model.layers.0.mlp.experts.1.up_proj.weight 6x8 388-484",
      "model.layers.0.mlp.experts.0.down_proj.weight 8x6 484-580",
      "model.layers.0.mlp.experts.1.down_proj.weight 8x6 580-676",
      "model.layers.0.mlp.gate.weight 2x8 676-708",
    ]);
  });

  it("are refused when a few digits would make millions of Linears", () => {
    const tensors = [
      tensor("m.experts.gate_up_proj", [2 ** 32, 2, 0], 0),
      tensor("m.experts.down_proj", [2 ** 32, 0, 1], 0),
    ];
    expect(() => splitExperts(tensors)).toThrow(/4294967296 experts .* more than 262144 Linears/);
  });

  it.each([
    ["that do not belong together", [2, 12, 8], [3, 8, 6]],
    ["of another rank", [24, 8], [16, 6]],
  ])("stay as they are: those %s", (_, gateUp, down) => {
    const tensors = [tensor("m.experts.gate_up_proj", gateUp, 0), tensor("m.experts.down_proj", down, 1000)];
    expect(splitExperts(tensors).tensors).toEqual(tensors);
  });

  it("are read turned over where their inputs come first", () => {
    const { tensors, transposed } = splitExperts([
      tensor("m.experts.gate_up_proj", [2, 8, 12], 100),
      tensor("m.experts.down_proj", [2, 6, 8], 484),
    ]);
    const lines = tensors.map(({ name, shape, file }) => `${name} ${shape.join("x")} ${file}`);
    expect(lines).toEqual([
      "m.experts.0.gate_proj.weight 6x8 transposed:m.experts.0.gate_proj",
      "m.experts.0.up_proj.weight 6x8 transposed:m.experts.0.up_proj",
      "m.experts.1.gate_proj.weight 6x8 transposed:m.experts.1.gate_proj",
      "m.experts.1.up_proj.weight 6x8 transposed:m.experts.1.up_proj",
      "m.experts.0.down_proj.weight 8x6 transposed:m.experts.0.down_proj",
      "m.experts.1.down_proj.weight 8x6 transposed:m.experts.1.down_proj",
    ]);
    const place = { file: "f", start: 292, end: 484, bytesEach: 2, width: 12 };
    expect(transposed.get("transposed:m.experts.1.up_proj")).toEqual([
      { ...place, firstColumn: 6, rows: 6, columns: 8 },
    ]);
  });

  it("stay as they are where gates and ups alternate, as those with biases do", () => {
    const tensors = [
      tensor("m.experts.gate_up_proj", [2, 8, 12], 0),
      tensor("m.experts.gate_up_proj_bias", [2, 12], 384),
      tensor("m.experts.down_proj", [2, 6, 8], 432),
    ];
    expect(splitExperts(tensors)).toEqual({ tensors, transposed: new Map() });
  });
});
