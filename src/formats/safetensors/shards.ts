// A model's tensors over files, as transformers' `save_pretrained` cuts them.

import { layOutSafetensors, tensorBytes, type TensorEntry, type TensorSpec } from "./safetensors.ts";

/** transformers' customary limit; well below the 16 GB that one file in Safari's storage may have. */
const MAX_SHARD_BYTES = 5_000_000_000;

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

export interface ShardRules {
  readonly maxShardBytes?: number;
  /** What the files are called, before their numbers: "model". */
  readonly stem?: string;
}

/** Fills shards in the order of the tensors: where they are cut follows from names, dtypes and shapes alone. */
export function layOutShards(
  tensors: Iterable<TensorSpec>,
  { maxShardBytes = MAX_SHARD_BYTES, stem = "model" }: ShardRules = {},
): OutputPlan {
  const groups: TensorSpec[][] = [[]];
  let filled = 0;
  let totalBytes = 0;
  let totalParameters = 0;
  for (const spec of tensors) {
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
    return { path: shardName(stem, index, groups.length), header, entries, fileBytes };
  });
  return { shards, totalBytes, totalParameters };
}

function shardName(stem: string, index: number, count: number): string {
  if (count === 1) return `${stem}.safetensors`;
  const digits = (value: number) => String(value).padStart(5, "0");
  return `${stem}-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}

/** Content of the index of a model in several files, as transformers writes it. */
export function shardIndex({ shards, totalBytes, totalParameters }: OutputPlan): string {
  const places = shards.flatMap((shard) => shard.entries.map(({ name }) => [name, shard.path] as const));
  const index = {
    metadata: { total_parameters: totalParameters, total_size: totalBytes },
    weight_map: Object.fromEntries(places.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
  return `${JSON.stringify(index, null, 2)}\n`;
}
