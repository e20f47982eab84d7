// Results to open, and what each consumer should make of them.

/**
 * "unread" opens with keys that nobody reads; "wrong" opens with other weights than the folder holds; "holds" are experts that
 * there is no kernel for, whose tensors all arrive where kernels would find them.
 */
export type Verdict = "opens" | "unread" | "wrong" | "holds" | "refused" | "no kernel";

export interface ConsumerCase {
  readonly name: string;
  readonly source: string;
  readonly options: readonly string[];
  readonly transformers: Verdict;
  /** On a processor: most kernels are for GPUs. One that has a kernel after all is as good as expected. */
  readonly vllm: Verdict;
}

const DENSE = "e2e/fixtures/golden/source";
const MIXTURE = "e2e/fixtures/architectures/qwen3-moe";

function dense(preset: string, transformers: Verdict, vllm: Verdict): ConsumerCase {
  return { name: preset, source: DENSE, options: ["--recipe", preset], transformers, vllm };
}

function mixture(
  preset: string,
  more: readonly string[],
  transformers: Verdict,
  vllm: Verdict,
): ConsumerCase {
  const options = ["--recipe", preset, ...more];
  return { name: `mixture-${preset}`, source: MIXTURE, options, transformers, vllm };
}

const NARROW = ["--group-size", "32"];

export const CASES: readonly ConsumerCase[] = [
  dense("W4A16", "opens", "no kernel"),
  dense("W8A8", "opens", "opens"),
  dense("FP8_DYNAMIC", "opens", "opens"),
  dense("NVFP4A16", "opens", "no kernel"),
  dense("MXFP4A16", "opens", "no kernel"),
  dense("MXFP8A16", "opens", "no kernel"),
  mixture("W4A16", NARROW, "opens", "holds"),
  mixture("W4A16_ASYM", NARROW, "refused", "holds"),
  mixture("W8A8", [], "refused", "holds"),
  mixture("FP8_DYNAMIC", [], "opens", "holds"),
  mixture("MXFP4A16", [], "opens", "holds"),
  mixture("NVFP4A16", [], "wrong", "holds"),
];
