// What the forward pass asks of whoever holds the weights, and what it tells whoever collects statistics. Residency is
// the other side's business: a whole layer on the GPU, one Linear at a time, or tiles of one.

import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import type { Matrix } from "../../gpu/matmul/matmul.ts";

/**
 * Rows of a Linear's weight on the GPU, (rows, columns) as they lie in the checkpoint. Rows start `stride` elements
 * apart: at least the columns, a multiple of `weightAlignment(dtype)`; what pads them must be finite (zeros).
 */
export interface GpuLinear {
  readonly weight: BufferPart;
  readonly dtype: FloatDtype;
  readonly stride: number;
  /** Place of the first of these rows in the Linear: a multiple of 4. */
  readonly firstRow: number;
  readonly rows: number;
}

/** Elements that rows of a weight start at multiples of: one load of the matrix product. */
export function weightAlignment(dtype: FloatDtype): number {
  return dtype === "F32" ? 4 : 8;
}

/** The smallest stride for rows of `columns` elements. */
export function weightStride(columns: number, dtype: FloatDtype): number {
  const alignment = weightAlignment(dtype);
  return Math.ceil(columns / alignment) * alignment;
}

export interface LayerWeights {
  /** Row tiles of a Linear's weight, one after the other; a resident weight is one tile. Each is valid until the next is asked for. */
  rowTiles(module: string): AsyncIterable<GpuLinear>;
  /**
   * A Linear's weight that lies on the GPU in one tile until the pass is over. Null where it comes in tiles; without this function all
   * do, or may.
   */
  whole?(module: string): GpuLinear | null;
  /** A norm's weight or a bias by its tensor name, as float32; valid until the layer is done. */
  vector(tensor: string): Promise<BufferPart>;
  /**
   * What a Linear sees in place of its input, where that is rounded first; valid until the next is asked for. Without this
   * function all Linears see what they are given.
   */
  input?(module: string, x: Activations): Promise<Activations>;
}

/** (rows, columns) float32 activations, one token a row. */
export interface Activations extends Matrix {
  readonly rows: number;
  readonly columns: number;
  /** True where they are of some of the tokens at hand alone: of those that are routed to an expert. */
  readonly routed?: boolean;
}

export interface ForwardHooks {
  /**
   * The input that `modules` share (see `captures`), called before they run; it must be read by work recorded in this
   * call. Wide MLPs come in several calls with some of the batch's tokens each; routed experts with their tokens only.
   */
  onInput?(modules: readonly string[], input: Activations): Promise<void>;
  /** How many of the tokens at hand were routed to each expert; called where experts see only those. */
  onRoutes?(router: string, counts: readonly number[]): Promise<void>;
  /** Keys (after norm and rotation, as a cache would store them) and values of a module, `kvHeads` heads side by side. */
  onKeyValue?(module: string, keys: Activations, values: Activations, kvHeads: number): Promise<void>;
}
