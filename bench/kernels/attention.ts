// Attention over the heads of each model, one long sequence or several short ones in a batch.

import { attend, attentionColumns } from "../../src/calibrate/forward/mixers/attention/attend.ts";
import { createBatch } from "../../src/calibrate/forward/token-batch.ts";
import { attention as describeAttention } from "../../src/model/parts/decoder-parts.ts";
import type { Benchmark } from "../benchmark.ts";
import type { ModelShape, Sizes } from "../model-shapes.ts";

/** Parts that a sequence is cut into for the batch of short ones. */
const SHORT_PARTS = 8;

export function attentionBenchmarks({ models, tokens }: Sizes): Benchmark[] {
  const short = tokens / SHORT_PARTS;
  return models.flatMap((model) => [
    attentionOf(model, `1 × ${tokens}`, [tokens]),
    attentionOf(
      model,
      `4 × ${tokens}`,
      Array.from({ length: 4 }, () => tokens),
    ),
    attentionOf(
      model,
      `${SHORT_PARTS} × ${short}`,
      Array.from({ length: SHORT_PARTS }, () => short),
    ),
  ]);
}

/** 4 · headDim operations for each head and each pair of a token with itself or an earlier one. */
function attentionOf(model: ModelShape, batches: string, lengths: readonly number[]): Benchmark {
  const { heads, kvHeads, headDim, hidden } = model;
  const pairs = lengths.reduce((sum, length) => sum + (length * (length + 1)) / 2, 0);
  return {
    name: `attention/${model.name}/${batches.replaceAll(" ", "")}`,
    shape: `${batches} tokens, ${heads} heads (${kvHeads}) of ${headDim}`,
    unit: "flop",
    work: 4 * headDim * heads * pairs,
    async prepare({ gpu, uploads, allocateNoise }, lifetime) {
      const shape = { heads, kvHeads, headDim, hiddenSize: hidden, rotary: null };
      const attention = describeAttention("self_attn", shape);
      const batch = lifetime.use(await createBatch(gpu, uploads, lengths));
      const columns = attentionColumns(attention);
      const bytes = batch.tokens * columns.stride * 4;
      const qkv = lifetime.use(await allocateNoise({ label: "qkv", bytes }, "F32"));
      return { run: async () => await attend(gpu, batch, { attention, qkv, columns, sinks: null }) };
    },
  };
}
