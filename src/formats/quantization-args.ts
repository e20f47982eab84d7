// The vocabulary of compressed-tensors (`quantization/quant_args.py`, `quant_scheme.py`, `quant_config.py`), names kept
// exactly: what is said here is what config.json and recipe.yaml say.

export type QuantizationType = "int" | "float";
export type QuantizationStrategy = "tensor" | "channel" | "group" | "block" | "token" | "tensor_group";
export type ActorderSetting = "static" | "group" | null;
export type ObserverName =
  | "memoryless_minmax"
  | "memoryless_mse"
  | "static_minmax"
  | "minmax"
  | "mse"
  | "imatrix_mse";

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

export type CompressionFormat =
  | "dense"
  | "pack-quantized"
  | "int-quantized"
  | "float-quantized"
  | "naive-quantized"
  | "nvfp4-pack-quantized"
  | "mxfp4-pack-quantized"
  | "mxfp8-quantized"
  | "mixed-precision";

/** What one group of modules is quantized to. `weights: null` leaves the weights as they are. */
export interface QuantizationScheme {
  readonly weights: QuantizationArgs | null;
  readonly input_activations: QuantizationArgs | null;
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
  const zp_dtype = args.symmetric === false ? "torch.int8" : null;
  return { ...DEFAULTS, zp_dtype, ...args };
}

/** Activation arguments with the library's defaults; a dynamic activation has no observer. */
export function activationArgs(args: Partial<QuantizationArgs>): QuantizationArgs {
  const observer = args.dynamic === true ? null : "memoryless_minmax";
  return { ...DEFAULTS, observer, ...args };
}

/** Smallest and largest code, or value for floats (compressed-tensors `calculate_range`). */
export function quantizedRange(args: Pick<QuantizationArgs, "num_bits" | "type">): [number, number] {
  if (args.type === "int") return [-(2 ** (args.num_bits - 1)), 2 ** (args.num_bits - 1) - 1];
  return args.num_bits === 4 ? [-6, 6] : [-448, 448];
}
