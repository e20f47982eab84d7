// Options of LLM Compressor's GPTQModifier, with its names and defaults (`modifiers/gptq/base.py`).

export interface GptqOptions {
  /** Columns between two updates of the rest. The result does not depend on it; the kernels use 128. */
  readonly block_size: number;
  /** Damping as a fraction of the Hessian's mean diagonal. */
  readonly dampening_frac: number;
}

export const GPTQ_DEFAULTS: GptqOptions = { block_size: 128, dampening_frac: 0.01 };
