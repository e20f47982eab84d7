// The preset schemes of compressed-tensors (`quantization/quant_scheme.py`), by their upper-case names, each with what it
// is for and what runs it. Kernels are vLLM's; transformers loads every preset and computes with dequantized weights.

import { activationArgs, type QuantizationScheme, weightArgs } from "./quantization-args.ts";

export interface Preset {
  readonly title: string;
  /** What it is for and what hardware runs it, for people who do not know the scheme. */
  readonly sentence: string;
  readonly scheme: QuantizationScheme;
}

const int8Token = activationArgs({ strategy: "token", dynamic: true });
const int4Token = activationArgs({ num_bits: 4, strategy: "token", dynamic: true });
const fp8Token = activationArgs({ type: "float", strategy: "token", dynamic: true });
const fp8Channel = weightArgs({ type: "float", strategy: "channel" });
const nvfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  scale_dtype: "torch.float8_e4m3fn",
} as const;
const mxfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "group",
  group_size: 32,
  scale_dtype: "torch.uint8",
} as const;
const mxfp8 = { ...mxfp4, num_bits: 8 } as const;

function weightOnly(num_bits: number): QuantizationScheme {
  return { weights: weightArgs({ num_bits, strategy: "group", group_size: 128 }), input_activations: null };
}

const weightBits = (num_bits: number) => weightArgs({ num_bits, strategy: "group", group_size: 128 });

const ODD_BITS_RUN = "Needs a recent vLLM and an NVIDIA GPU of Turing (2018) or later.";
const NO_KERNEL = "For experiments: it loads in transformers, but no server has a fast kernel for it.";

export const PRESETS = {
  W4A16: {
    title: "4-bit weights",
    sentence:
      "About a quarter of the size, to run large models on small GPUs; runs on NVIDIA GPUs of Turing (2018) and later, and most others that vLLM knows.",
    scheme: weightOnly(4),
  },
  W4A16_ASYM: {
    title: "4-bit weights with zero points",
    sentence:
      "As W4A16, a little closer to the original when weights are not centred on zero; runs on NVIDIA GPUs of Turing (2018) and later.",
    scheme: {
      weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 128, symmetric: false }),
      input_activations: null,
    },
  },
  W8A16: {
    title: "8-bit weights",
    sentence:
      "About half of the size and hardly distinguishable from the original; runs on NVIDIA GPUs of Turing (2018) and later, and most others that vLLM knows.",
    scheme: weightOnly(8),
  },
  W8A8: {
    title: "8-bit integers throughout",
    sentence:
      "Half of the size and faster under load, because the GPU multiplies 8-bit integers; runs on NVIDIA GPUs from Turing to Hopper, AMD GPUs and CPUs.",
    scheme: { weights: weightArgs({ strategy: "channel" }), input_activations: int8Token },
  },
  INT8: {
    title: "8-bit integers throughout",
    sentence: "Another name for W8A8.",
    scheme: { weights: weightArgs({ strategy: "channel" }), input_activations: int8Token },
  },
  FP8_DYNAMIC: {
    title: "8-bit floats, scaled while running",
    sentence:
      "Half of the size and faster under load with hardly any loss; runs on NVIDIA Ada, Hopper and Blackwell and AMD MI300 and later, and as weights only on Ampere.",
    scheme: { weights: fp8Channel, input_activations: fp8Token },
  },
  FP8_BLOCK: {
    title: "8-bit floats in blocks",
    sentence:
      "As FP8_DYNAMIC with a scale for each 128 × 128 block, the layout of DeepSeek-V3; runs on NVIDIA Hopper and Blackwell and AMD MI300 and later.",
    scheme: {
      weights: weightArgs({ type: "float", strategy: "block", block_structure: [128, 128] }),
      input_activations: activationArgs({ type: "float", strategy: "group", group_size: 128, dynamic: true }),
    },
  },
  FP8: {
    title: "8-bit floats with measured scales",
    sentence:
      "As FP8_DYNAMIC, but scales of activations are measured on a text beforehand, which saves a little time while serving; runs on NVIDIA Ada, Hopper and Blackwell and AMD MI300 and later.",
    scheme: {
      weights: weightArgs({ type: "float", strategy: "tensor" }),
      input_activations: activationArgs({ type: "float", strategy: "tensor", observer: "static_minmax" }),
    },
  },
  NVFP4: {
    title: "4-bit floats throughout",
    sentence:
      "A bit more than a quarter of the size and the fastest on NVIDIA Blackwell (B200, RTX 50), which multiplies 4-bit floats; elsewhere it runs as weights only.",
    scheme: {
      weights: weightArgs(nvfp4),
      input_activations: activationArgs({ ...nvfp4, dynamic: "local", observer: "static_minmax" }),
    },
  },
  NVFP4A16: {
    title: "4-bit float weights",
    sentence:
      "A bit more than a quarter of the size with scales for every 16 weights; made for NVIDIA Blackwell, runs on Ampere and later.",
    scheme: { weights: weightArgs(nvfp4), input_activations: null },
  },
  MXFP4: {
    title: "4-bit microscaling floats throughout",
    sentence:
      "The open 4-bit format of the OCP: a bit more than a quarter of the size; multiplies fast on NVIDIA Blackwell and AMD MI350.",
    scheme: {
      weights: weightArgs(mxfp4),
      input_activations: activationArgs({ ...mxfp4, dynamic: true }),
    },
  },
  MXFP4A16: {
    title: "4-bit microscaling float weights",
    sentence:
      "As MXFP4 with activations left alone, the layout of gpt-oss; made for NVIDIA Blackwell and AMD MI350, runs on Ampere and later.",
    scheme: { weights: weightArgs(mxfp4), input_activations: null },
  },
  MXFP8: {
    title: "8-bit microscaling floats throughout",
    sentence:
      "The open 8-bit format of the OCP: half of the size with hardly any loss; multiplies fast on NVIDIA Blackwell and AMD MI350.",
    scheme: {
      weights: weightArgs(mxfp8),
      input_activations: activationArgs({ ...mxfp8, dynamic: true }),
    },
  },
  MXFP8A16: {
    title: "8-bit microscaling float weights",
    sentence:
      "As MXFP8 with activations left alone: half of the size with hardly any loss; made for NVIDIA Blackwell and AMD MI350.",
    scheme: { weights: weightArgs(mxfp8), input_activations: null },
  },
  W4AFP8: {
    title: "4-bit weights, 8-bit float activations",
    sentence:
      "A quarter of the size and faster under load than W4A16 on NVIDIA Hopper, the only GPU with a kernel for it; written packed, because that is what vLLM loads.",
    scheme: { weights: weightBits(4), input_activations: fp8Token },
  },
  W4A8: {
    title: "4-bit weights, 8-bit activations",
    sentence:
      "For Arm CPUs, whose kernels take 4-bit weights from bytes: the file has one byte for each weight and is no smaller than W8A8.",
    scheme: { weights: weightBits(4), input_activations: int8Token },
  },
  W6A16: {
    title: "6-bit weights",
    sentence: `Between W4A16 and W8A16 in size, close to the original. ${ODD_BITS_RUN}`,
    scheme: weightOnly(6),
  },
  W5A16: {
    title: "5-bit weights",
    sentence: `A little larger than W4A16 with clearly less loss. ${ODD_BITS_RUN}`,
    scheme: weightOnly(5),
  },
  W7A16: {
    title: "7-bit weights",
    sentence: `A little smaller than W8A16 at the same quality. ${ODD_BITS_RUN}`,
    scheme: weightOnly(7),
  },
  W3A16: {
    title: "3-bit weights",
    sentence: `A fifth of the size; rounded to nearest it damages most models, so combine it with GPTQ. ${ODD_BITS_RUN}`,
    scheme: weightOnly(3),
  },
  W2A16: {
    title: "2-bit weights",
    sentence: `An eighth of the size; rounded to nearest hardly any model survives it. ${ODD_BITS_RUN}`,
    scheme: weightOnly(2),
  },
  W7A8: {
    title: "7-bit weights, 8-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(7), input_activations: int8Token },
  },
  W6A8: {
    title: "6-bit weights, 8-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(6), input_activations: int8Token },
  },
  W5A8: {
    title: "5-bit weights, 8-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(5), input_activations: int8Token },
  },
  W3A8: {
    title: "3-bit weights, 8-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(3), input_activations: int8Token },
  },
  W2A8: {
    title: "2-bit weights, 8-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(2), input_activations: int8Token },
  },
  W4A4: {
    title: "4-bit integers throughout",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(4), input_activations: int4Token },
  },
  W3A4: {
    title: "3-bit weights, 4-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(3), input_activations: int4Token },
  },
  W2A4: {
    title: "2-bit weights, 4-bit activations",
    sentence: NO_KERNEL,
    scheme: { weights: weightBits(2), input_activations: int4Token },
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;

/** A preset that leaves its targets as they are; it is for recipes, not for choosing. */
export const UNQUANTIZED = "UNQUANTIZED";

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];

/** The scheme of a preset by its name in any case, with the name in upper case; null if there is none. */
export function findScheme(
  name: string,
): { readonly name: string; readonly scheme: QuantizationScheme } | null {
  const upper = name.toUpperCase();
  if (upper === UNQUANTIZED) return { name: upper, scheme: { weights: null, input_activations: null } };
  return isPresetName(upper) ? { name: upper, scheme: PRESETS[upper].scheme } : null;
}

function isPresetName(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name);
}
