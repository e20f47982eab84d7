import { describe, expect, it } from "vitest";
import { findScheme, PRESET_NAMES, PRESETS } from "./presets.ts";
import { activationArgs, type QuantizationScheme, weightArgs } from "./quantization-args.ts";
import { schemeName } from "./scheme-name.ts";

function weightsOnly(args: Parameters<typeof weightArgs>[0]): QuantizationScheme {
  return { weights: weightArgs(args), input_activations: null };
}

describe("the name of a scheme", () => {
  it("is the preset's, for every preset but the second name of W8A8", () => {
    const names = PRESET_NAMES.map((name) => schemeName(PRESETS[name].scheme));
    expect(names).toEqual(PRESET_NAMES.map((name) => (name === "INT8" ? "W8A8" : name)));
    expect(schemeName(findScheme("unquantized")?.scheme ?? PRESETS.W4A16.scheme)).toBe("UNQUANTIZED");
  });

  it("is the preset's whatever observed the weights and in whatever order they were quantized", () => {
    const args = { num_bits: 4, strategy: "group", group_size: 128 } as const;
    expect(schemeName(weightsOnly({ ...args, observer: "memoryless_mse", actorder: "group" }))).toBe("W4A16");
  });

  it.each([
    ["W4A16-G64", weightsOnly({ num_bits: 4, strategy: "group", group_size: 64 })],
    ["W4A16_ASYM-G32", weightsOnly({ num_bits: 4, strategy: "group", group_size: 32, symmetric: false })],
    ["W4A16-CHANNEL", weightsOnly({ num_bits: 4, strategy: "channel" })],
    ["W8A16_ASYM-TENSOR", weightsOnly({ symmetric: false })],
    ["WFP8A16-CHANNEL", weightsOnly({ type: "float", strategy: "channel" })],
    ["WFP8A16-BLOCK64x48", weightsOnly({ type: "float", strategy: "block", block_structure: [64, 48] })],
    [
      "W8A8-G32",
      {
        weights: weightArgs({ strategy: "group", group_size: 32 }),
        input_activations: activationArgs({ strategy: "token", dynamic: true }),
      },
    ],
  ] as const)("is %s where no preset has the arguments", (name, scheme) => {
    expect(schemeName(scheme)).toBe(name);
  });
});
