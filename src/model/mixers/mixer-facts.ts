// What the rest of a job asks of a mixer, whatever its kind.

import type { TensorShape } from "../norm-tensors.ts";
import type { Linear } from "../weight-description.ts";

export interface MixerFacts {
  /** Its Linears but the last, in forward order, by the input that they share; the first share the block's input. */
  readonly inputs: readonly (readonly Linear[])[];
  /** The Linear whose output joins the residual. */
  readonly output: Linear;
  /** What it reads beside its Linears: norms, convolutions, decays. */
  readonly vectors: readonly TensorShape[];
  /** Null where tokens leave no keys and values behind, so that there is nothing to scale. */
  readonly keyValueCache: { readonly module: string; readonly kvHeads: number } | null;
  /** Floating-point operations for a sequence of so many tokens, those of its Linears left out. */
  work(tokens: number): number;
}
