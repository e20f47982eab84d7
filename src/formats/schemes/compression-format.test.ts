import { describe, expect, it } from "vitest";
import { cellGrid, compressionFormat } from "./compression-format.ts";
import { PRESET_NAMES, PRESETS, findScheme } from "./presets.ts";
import { weightArgs } from "./quantization-args.ts";
import { storedTensors } from "../weights/stored-tensors.ts";

const FORMATS = {
  "pack-quantized": "W2A16 W3A16 W4A16 W4A16_ASYM W5A16 W6A16 W7A16 W8A16 W4AFP8",
  "int-quantized": "W8A8 INT8 W2A8 W3A8 W4A8 W5A8 W6A8 W7A8 W2A4 W3A4 W4A4",
  "float-quantized": "FP8 FP8_DYNAMIC FP8_BLOCK",
  "nvfp4-pack-quantized": "NVFP4 NVFP4A16",
  "mxfp4-pack-quantized": "MXFP4 MXFP4A16",
  "mxfp8-quantized": "MXFP8 MXFP8A16",
};

describe("the format of a scheme", () => {
  it.each(Object.entries(FORMATS))("is %s for %s", (format, names) => {
    for (const name of names.split(" ")) {
      const found = findScheme(name.toLowerCase());
      expect(found && compressionFormat(found.scheme)).toBe(format);
    }
  });

  it("is known for every preset", () => {
    const listed = Object.values(FORMATS).flatMap((names) => names.split(" "));
    expect(listed.toSorted()).toEqual([...PRESET_NAMES].toSorted());
  });

  it("is naive-quantized for float weights alone", () => {
    const weights = weightArgs({ type: "float", strategy: "channel" });
    expect(compressionFormat({ weights, input_activations: null })).toBe("naive-quantized");
  });
});

describe("blocks", () => {
  // compressed-tensors tests/test_quantization/test_utils/test_helpers.py: padding that whole blocks need.
  it.each([
    [10944, 2048, 64, 0],
    [100, 200, 28, 56],
    [300, 256, 84, 0],
    [256, 300, 0, 84],
    [256, 384, 0, 0],
    [100, 100, 28, 28],
  ])(
    "of 128 × 128 cover %d × %d with %d rows and %d columns to spare",
    (rows, columns, padRows, padColumns) => {
      const args = weightArgs({ type: "float", strategy: "block", block_structure: [128, 128] });
      const { cellsPerColumn, cellsPerRow } = cellGrid(args, rows, columns);
      expect([cellsPerColumn * 128 - rows, cellsPerRow * 128 - columns]).toEqual([padRows, padColumns]);
    },
  );
});

describe("stored tensors", () => {
  const names = (scheme: keyof typeof PRESETS, dtype: "BF16" | "F16" = "BF16") =>
    storedTensors("m", PRESETS[scheme].scheme, dtype, [64, 256]).map(
      ({ name, dtype: stored, shape }) => `${name} ${stored} ${shape.join("x")}`,
    );

  it.each([
    ["W3A16", ["m.weight_packed I32 64x24", "m.weight_shape I64 2", "m.weight_scale BF16 64x2"]],
    ["W4A8", ["m.weight I8 64x256", "m.weight_scale BF16 64x2"]],
    ["FP8", ["m.weight F8_E4M3 64x256", "m.weight_scale BF16 1", "m.input_scale BF16 1"]],
    ["FP8_BLOCK", ["m.weight F8_E4M3 64x256", "m.weight_scale BF16 1x2"]],
    ["MXFP4", ["m.weight_packed U8 64x128", "m.weight_scale U8 64x8"]],
    ["MXFP8", ["m.weight F8_E4M3 64x256", "m.weight_scale U8 64x8"]],
    [
      "NVFP4",
      [
        "m.weight_packed U8 64x128",
        "m.weight_scale F8_E4M3 64x16",
        "m.weight_global_scale F32 1",
        "m.input_global_scale F32 1",
      ],
    ],
    [
      "W4A16_ASYM",
      [
        "m.weight_packed I32 64x32",
        "m.weight_shape I64 2",
        "m.weight_scale BF16 64x2",
        "m.weight_zero_point I32 8x2",
      ],
    ],
  ] as const)("of %s are the library's", (scheme, expected) => {
    expect(names(scheme)).toEqual(expected);
  });

  it("keep the weight's dtype for scales", () => {
    expect(names("W8A8", "F16")).toContain("m.weight_scale F16 64x1");
  });
});
