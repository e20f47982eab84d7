// A model as evaluation sees it: what it computes, where its tensors are, and how each Linear is quantized.

import { type Dtype, DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import type { QuantizationScheme } from "../../formats/schemes/quantization-args.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";

export interface StoredTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface StoredModel {
  readonly description: DecoderDescription;
  tensor(name: string): StoredTensor | null;
  /** Bytes [start, end) of a tensor, or all of it. */
  read(
    name: string,
    span?: { readonly start: number; readonly end: number },
  ): Promise<Uint8Array<ArrayBuffer>>;
  schemeOf(module: string): QuantizationScheme | null;
  /** First hidden states of sequences of token ids, (ids, hidden) float32 each; every row of the table is read once. */
  embed(sequences: readonly (readonly number[])[]): Promise<Float32Array<ArrayBuffer>[]>;
  /** Rows of the table of token inputs, multiplied: (ids, size) of a layer, or of all layers side by side. */
  tokenRows(ids: readonly number[], layer: number | null): Promise<Float32Array<ArrayBuffer>>;
  /** Says that layers from this one on will be read, and then the head; −1 begins with the embedding. So much is said at once. */
  announce?(from: number, aheadBytes?: number): void;
  /** The same model for one who reads each layer once: what was read is kept nowhere, but for a table that is the head, too. */
  readonly once?: () => StoredModel;
}

/** Bytes of a tensor; none of one that is not there. */
export function tensorBytes(tensor: StoredTensor | null): number {
  return tensor ? tensor.shape.reduce((product, size) => product * size, DTYPE_BITS[tensor.dtype]) / 8 : 0;
}

/** What compressed-tensors puts beside or in place of `<module>.weight`. */
const PARTS =
  /\.(weight_scale|weight_zero_point|weight_shape|weight_global_scale|weight_g_idx|input_scale|input_zero_point|input_global_scale|[kqv]_scale|[kqv]_zero_point)$/;

/** Tensor names as the original checkpoint has them, for the description of the decoder. */
export function originalNames(names: Iterable<string>): Set<string> {
  return new Set(
    [...names].filter((name) => !PARTS.test(name)).map((name) => name.replace(/\.weight_packed$/, ".weight")),
  );
}
