import { expect, it } from "vitest";
import { PRESET_NAMES, PRESETS } from "../../../formats/schemes/presets.ts";
import { isStaticActivation } from "../../../formats/schemes/quantization-args.ts";
import { readScheme, SCHEMES } from "./read-scheme.ts";

it.each(Object.entries(PRESETS))("reads from the name of %s what the preset is", (name, { scheme }) => {
  const { weights, input_activations } = scheme;
  expect(readScheme(name.toLowerCase())).toEqual({
    weightBits: weights?.num_bits,
    integer: weights?.type === "int",
    groupSize: weights?.group_size,
    oneScale: weights?.strategy === "tensor",
    fixedGroups: weights?.scale_dtype !== null,
    calibrated: isStaticActivation(input_activations),
  });
});

it.each(["", "W1A1", "W9A16", "MXFP4A8", "FP4", "GPTQ-W4A16", "constructor"])(
  "takes %j for no name of a preset",
  (name) => {
    expect(readScheme(name)).toBeNull();
  },
);

it("knows the names of all presets", () => {
  expect(SCHEMES).toEqual(PRESET_NAMES);
});
