// The vocabulary of compressed-tensors (`quantization/quant_args.py`, `quant_scheme.py`, `quant_config.py`), names kept
// exactly: what is said here is what config.json and recipe.yaml say.

export type QuantizationType = "int" | "float";
export const STRATEGIES = [
  "tensor",
  "channel",
  "group",
  "block",
  "token",
  "tensor_group",
  "attn_head",
] as const;
export type QuantizationStrategy = (typeof STRATEGIES)[number];
export type ActorderSetting = "static" | "group" | null;
export const OBSERVERS = [
  "memoryless_minmax",
  "static_minmax",
  "minmax",
  "memoryless_mse",
  "mse",
  "nvfp4_expanded_mse",
  "imatrix_mse",
  "hessian_mse",
] as const;
export type ObserverName = (typeof OBSERVERS)[number];
/** Those that a recipe of one word may name for weights; see mse-settings.ts. */
export const WEIGHT_OBSERVERS = [
  "memoryless_minmax",
  "memoryless_mse",
  "imatrix_mse",
  "hessian_mse",
] as const;
export type WeightObserver = (typeof WEIGHT_OBSERVERS)[number];

export interface QuantizationArgs {
  readonly num_bits: number;
  readonly type: QuantizationType;
  readonly symmetric: boolean;
  readonly strategy: QuantizationStrategy;
  readonly group_size: number | null;
  readonly block_structure: readonly [number, number] | null;
  /** `"local"`: the scales of groups are dynamic, the global scale is static (NVFP4 activations). */
  readonly dynamic: boolean | "local";
  readonly actorder: ActorderSetting;
  readonly scale_dtype: "torch.float8_e4m3fn" | "torch.uint8" | null;
  readonly zp_dtype: "torch.int8" | null;
  readonly observer: ObserverName | null;
  readonly observer_kwargs: Readonly<Record<string, unknown>>;
}

/** Formats that a group of modules can have; a model of several has the format "mixed-precision". */
export const COMPRESSION_FORMATS = [
  "dense",
  "pack-quantized",
  "int-quantized",
  "float-quantized",
  "naive-quantized",
  "nvfp4-pack-quantized",
  "mxfp4-pack-quantized",
  "mxfp8-quantized",
] as const;
export type CompressionFormat = (typeof COMPRESSION_FORMATS)[number];

/** What one group of modules is quantized to. `weights: null` leaves the weights as they are. */
export interface QuantizationScheme {
  readonly weights: QuantizationArgs | null;
  readonly input_activations: QuantizationArgs | null;
  /** Format that the recipe asks for; absent, it follows from the arguments. */
  readonly format?: CompressionFormat;
}

const DEFAULTS: QuantizationArgs = {
  num_bits: 8,
  type: "int",
  symmetric: true,
  strategy: "tensor",
  group_size: null,
  block_structure: null,
  dynamic: false,
  actorder: null,
  scale_dtype: null,
  zp_dtype: null,
  observer: "memoryless_minmax",
  observer_kwargs: {},
};

/** Weight arguments with the library's defaults for what is not given. */
export function weightArgs(args: Partial<QuantizationArgs>): QuantizationArgs {
  return { ...DEFAULTS, zp_dtype: zeroPointDtype(args), ...args };
}

/**
 * Activation arguments with the library's defaults. A dynamic activation has no observer; a measured one, the key-value cache
 * too, has `minmax`, a moving average over all samples (LLM Compressor 0.14 `initialize_observer`; earlier releases had
 * `memoryless_minmax`, which remembers the last sample alone).
 */
export function activationArgs(args: Partial<QuantizationArgs>): QuantizationArgs {
  const observer = args.dynamic === true ? null : "minmax";
  return { ...DEFAULTS, zp_dtype: zeroPointDtype(args), observer, ...args };
}

/** Symmetric schemes have no zero points, and vLLM cannot load them. */
function zeroPointDtype(args: Partial<QuantizationArgs>): "torch.int8" | null {
  return args.symmetric === false ? "torch.int8" : null;
}

/** True for the microscaling formats: groups of 32 floats that share a power of two (`should_generate_mx_scales`). */
export function hasMxScales(args: QuantizationArgs): boolean {
  return args.type === "float" && args.group_size === 32 && args.scale_dtype === "torch.uint8";
}

/** True if scales are measured while a text is calibrated: static activations, or NVFP4's static global scale. */
export function isStaticActivation(args: QuantizationArgs | null): args is QuantizationArgs {
  return args !== null && args.dynamic !== true;
}

/** True for weights whose observer weighs errors by the importance of their input column, which a calibration measures. */
export function usesImportance(args: Pick<QuantizationArgs, "observer"> | null): boolean {
  return args?.observer === "imatrix_mse" || args?.observer === "hessian_mse";
}

/** Smallest and largest code, or value for floats (compressed-tensors `calculate_range`). */
export function quantizedRange(args: Pick<QuantizationArgs, "num_bits" | "type">): [number, number] {
  if (args.type === "int") return [-(2 ** (args.num_bits - 1)), 2 ** (args.num_bits - 1) - 1];
  return args.num_bits === 4 ? [-6, 6] : [-448, 448];
}
