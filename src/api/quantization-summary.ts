// How a model is quantized already: types only, which the page shares.

/** Modules, or plain tensors, that differ in the numbers of their names alone. */
export interface TensorGroup {
  /** "model.layers.*.self_attn.q_proj"; of only some layers "model.layers.{0-3,7}.self_attn.q_proj". */
  readonly name: string;
  readonly count: number;
  /** "W4A16" of modules, the dtype of tensors that were kept. */
  readonly scheme: string;
  /** "group 128, pack-quantized"; empty of tensors that were kept. */
  readonly detail: string;
  readonly weights: number;
  readonly bytes: number;
}

export interface QuantizationSummary {
  /** "compressed-tensors", or "fp8" for FP8 in blocks. */
  readonly method: string;
  /** The schemes of all modules, the one of the most weights first. */
  readonly schemes: readonly string[];
  readonly modules: readonly TensorGroup[];
  readonly kept: readonly TensorGroup[];
  /** Of the matrices in the layers (src/plan/checkpoint/bits-per-weight.ts). */
  readonly bitsPerWeight: number;
  /** Of all tensors. */
  readonly totalBitsPerWeight: number;
  /** "FP8, one scale for each layer's keys and values", or null. */
  readonly kvCache: string | null;
  readonly dequantizedBytes: number;
  readonly dequantizedDtype: string;
}
