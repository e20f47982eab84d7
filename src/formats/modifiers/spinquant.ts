// Words and settings of LLM Compressor's SpinQuantModifier (`modifiers/transform/spinquant/base.py`), as far as files can
// hold what it does: R3 and R4 are computed while the model runs.

/** R1 turns the hidden states, R2 the values inside of each head; both are multiplied into the weights. */
export const FUSED_ROTATIONS = ["R1", "R2"] as const;
export type FusedRotation = (typeof FUSED_ROTATIONS)[number];

/** "random-hadamard" draws signs; both are Hadamard matrices where the size has one. */
export const TRANSFORM_TYPES = ["hadamard", "random-hadamard"] as const;

export interface SpinQuantSettings {
  readonly rotations: readonly FusedRotation[];
  readonly transform_type: (typeof TRANSFORM_TYPES)[number];
}

export const SPIN_QUANT_SETTINGS: SpinQuantSettings = {
  rotations: FUSED_ROTATIONS,
  transform_type: "hadamard",
};

export const SPIN_QUANT = {
  name: "SpinQuantModifier",
  title: "Rotation",
  sentence:
    "Turns the hidden states, and the values of each head, so that what is large in a few channels is spread over all of them. The model computes the same; its weights are easier to quantize.",
} as const;
