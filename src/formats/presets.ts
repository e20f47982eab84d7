// The preset schemes of compressed-tensors (`quantization/quant_scheme.py`), by their upper-case names.

import { activationArgs, weightArgs, type QuantizationScheme } from "./quantization-args.ts";

const int8Token = activationArgs({ num_bits: 8, type: "int", strategy: "token", dynamic: true });
const fp8Token = activationArgs({ num_bits: 8, type: "float", strategy: "token", dynamic: true });

export const PRESETS = {
  W4A16: {
    weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 128 }),
    input_activations: null,
  },
  W8A16: {
    weights: weightArgs({ num_bits: 8, strategy: "group", group_size: 128 }),
    input_activations: null,
  },
  W8A8: {
    weights: weightArgs({ num_bits: 8, strategy: "channel" }),
    input_activations: int8Token,
  },
  FP8_DYNAMIC: {
    weights: weightArgs({ num_bits: 8, type: "float", strategy: "channel" }),
    input_activations: fp8Token,
  },
} as const satisfies Record<string, QuantizationScheme>;

export type PresetName = keyof typeof PRESETS;

export function isPresetName(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name);
}
