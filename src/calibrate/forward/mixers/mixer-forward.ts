import type { Gpu } from "../../../gpu/gpu.ts";
import type { ForwardPass, HiddenRows } from "../forward-pass.ts";
import type { Activations } from "../layer-weights.ts";
import type { Rotary } from "../../../model/mixer-description.ts";

/** A mixer's part of the forward pass, whatever its kind. */
export interface MixerForward {
  /** What it writes to the workspace's scratch buffer: values a token, and what they are called where they do not fit. */
  readonly scratch: { readonly what: string; readonly columns: number };
  /** Whose table it asks the workspace for, or null. */
  readonly rotary: Rotary | null;
  /** Values a token that it norms into the buffer of the block's input; without it, no more than that holds. */
  readonly normed?: number;
  /** The output Linear's sums are made in parts (`LinearUse`): where rounding is enlarged by a later layer of its kind. */
  readonly outputInParts?: boolean;
  /** @throws UnsupportedModelError if its sizes are larger than its kernels take. */
  check(): void;
  /** Begins to compile its slowest kernels; returns at once. */
  prepare(gpu: Gpu): void;
  /**
   * Computes the input of the output Linear, in the scratch buffer, from the block's normed input. Calls the pass's hooks
   * with what its own later Linears see, and with keys and values. Takes what the rows of hidden states carry, and
   * hands on to later layers; null hands on nothing, where a mixer runs for what it gives out alone.
   */
  mix(pass: ForwardPass, input: Activations, states: HiddenRows | null): Promise<Activations>;
}
