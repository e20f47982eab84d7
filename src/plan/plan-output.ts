// The result's shards, laid out before anything runs: every output tensor has its file and its bytes from the start, so
// that finished tensors are written once, in place, in whatever order they are finished.

import { layOutSafetensors, tensorBytes, type TensorEntry, type TensorSpec } from "../formats/safetensors.ts";
import type { StepPlan } from "./plan-steps.ts";

/** transformers' customary limit; well below the 16 GB that one file in Safari's storage may have. */
export const MAX_SHARD_BYTES = 5_000_000_000;

export interface OutputShard {
  readonly path: string;
  readonly header: Uint8Array<ArrayBuffer>;
  readonly fileBytes: number;
  readonly entries: readonly TensorEntry[];
}

export interface OutputPlan {
  readonly shards: readonly OutputShard[];
  /** Bytes of all tensors, headers not counted: the index's `total_size`. */
  readonly totalBytes: number;
  /** Elements of all stored tensors, as transformers counts `total_parameters` for its index. */
  readonly totalParameters: number;
}

/** Fills shards in the order of the steps, as transformers' `save_pretrained` does; a step may span shards. */
export function planOutput(plan: StepPlan, maxShardBytes = MAX_SHARD_BYTES): OutputPlan {
  const groups: TensorSpec[][] = [[]];
  let filled = 0;
  let totalBytes = 0;
  let totalParameters = 0;
  for (const spec of outputSpecs(plan)) {
    const bytes = tensorBytes(spec);
    if (filled > 0 && filled + bytes > maxShardBytes) {
      groups.push([]);
      filled = 0;
    }
    groups.at(-1)?.push(spec);
    filled += bytes;
    totalBytes += bytes;
    totalParameters += spec.shape.reduce((product, size) => product * size, 1);
  }
  const shards = groups.map((specs, index): OutputShard => {
    const { header, entries, fileBytes } = layOutSafetensors(specs);
    return { path: shardName(index, groups.length), header, entries, fileBytes };
  });
  return { shards, totalBytes, totalParameters };
}

/** All tensors of the result, in the order of the steps. */
export function outputSpecs(plan: StepPlan): TensorSpec[] {
  return plan.steps.flatMap((step) => [
    ...step.copy.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    ...step.quantize.flatMap((task) => task.outputs),
    ...step.measured,
  ]);
}

function shardName(index: number, count: number): string {
  if (count === 1) return "model.safetensors";
  const digits = (value: number) => String(value).padStart(5, "0");
  return `model-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}
