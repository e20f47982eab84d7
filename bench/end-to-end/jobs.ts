// The jobs that `npm run bench` runs unless told otherwise: layers of published shapes with few tokens in the vocabulary,
// because the embedding says nothing of a layer.

import type { EndToEndOptions } from "../options.ts";

const GIB = 1024 ** 3;

/** What the test server makes up; scripts/model-server/synthetic-model.ts. */
export interface SyntheticShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocab: number;
  readonly dtype: "BF16";
}

export interface SyntheticJob {
  readonly shape: SyntheticShape;
  readonly job: Omit<EndToEndOptions, "address">;
}

const llama = { vocab: 32_000, kvHeads: 8, dtype: "BF16" } as const;
const llama1b = { ...llama, hidden: 2048, intermediate: 8192, heads: 32 };
const llama8b = { ...llama, hidden: 4096, intermediate: 14_336, heads: 32 };
const llama70b = { ...llama, hidden: 8192, intermediate: 28_672, heads: 64 };

const roundToNearest = { scheme: "W4A16", gpuBudgetBytes: 4 * GIB };
const gptq = { scheme: "W4A16", samples: 128, tokensEach: 2048 };

const FULL: readonly SyntheticJob[] = [
  { shape: { ...llama1b, layers: 16 }, job: { ...roundToNearest, name: "llama-3.2-1b, 16 layers" } },
  { shape: { ...llama8b, layers: 16 }, job: { ...roundToNearest, name: "llama-3.1-8b, 16 layers" } },
  { shape: { ...llama70b, layers: 8 }, job: { ...roundToNearest, name: "llama-3.3-70b, 8 layers" } },
  {
    shape: { ...llama8b, layers: 1 },
    job: { ...gptq, name: "llama-3.1-8b, 1 layer, GPTQ", gpuBudgetBytes: 24 * GIB },
  },
  {
    shape: { ...llama70b, layers: 1 },
    job: { ...gptq, name: "llama-3.3-70b, 1 layer, GPTQ in 4 GiB", gpuBudgetBytes: 4 * GIB },
  },
];

const tiny = {
  layers: 2,
  hidden: 128,
  intermediate: 256,
  heads: 4,
  kvHeads: 2,
  vocab: 512,
  dtype: "BF16",
} as const;
const tinyJob = { scheme: "W4A16", gpuBudgetBytes: GIB };

const SMALL: readonly SyntheticJob[] = [
  { shape: tiny, job: { ...tinyJob, name: "small, 2 layers" } },
  { shape: tiny, job: { ...tinyJob, name: "small, 2 layers, GPTQ", samples: 4, tokensEach: 64 } },
];

/** Jobs whose name one of the patterns finds. */
export function syntheticJobs(patterns: readonly string[], small: boolean): SyntheticJob[] {
  const expressions = patterns.map((pattern) => new RegExp(pattern));
  return (small ? SMALL : FULL).filter(({ job }) => expressions.some((pattern) => pattern.test(job.name)));
}
