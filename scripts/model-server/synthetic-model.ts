// Checkpoints of any size without a disk: a real config.json and real safetensors headers, and weights that repeat one
// block of normal noise. The bytes depend on nothing but the options.

import { Float16Array } from "@petamoriken/float16";
import {
  layOutSafetensors,
  tensorBytes,
  type TensorSpec,
} from "../../src/formats/safetensors/safetensors.ts";
import { randomNormal, seededRandom } from "../../src/testing/random.ts";
import { memoryModel, type ServedFile, type ServedModel } from "./served-model.ts";

export interface SyntheticOptions {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocab: number;
  readonly dtype: "BF16" | "F16" | "F32";
  /** Splits the tensors over so many files, with an index; 1 is a single model.safetensors. */
  readonly shards?: number;
}

/** Weights of the block: a prime, so that rows of no common width see the same noise at the same column. */
const BLOCK_VALUES = 1_048_573;
const DEVIATION = 0.02;
/** Each shard starts elsewhere in the block, on a whole value of any dtype: no two files hold the same bytes. */
const SHARD_PHASE_BYTES = 7919 * 4;
const TORCH_DTYPES = { BF16: "bfloat16", F16: "float16", F32: "float32" } as const;

/** A llama checkpoint of the given sizes. Serving it costs a copy of a block per few megabytes. */
export function syntheticModel(options: SyntheticOptions): ServedModel {
  const block = noiseBlock(options.dtype);
  const shards = splitTensors(llamaTensors(options), options.shards ?? 1);
  const names = shards.map((_, index) => shardName(index, shards.length));
  const small: Record<string, string> = { "config.json": JSON.stringify(llamaConfig(options), null, 2) };
  if (shards.length > 1) small["model.safetensors.index.json"] = indexJson(shards, names);
  const weights = shards.map((tensors, index): [string, ServedFile] => [
    names[index] ?? "",
    shardFile(tensors, block, index),
  ]);
  return new Map([...memoryModel(small), ...weights]);
}

/** Bytes of all weight files together. */
export function weightBytes(model: ServedModel): number {
  return [...model]
    .filter(([path]) => path.endsWith(".safetensors"))
    .reduce((sum, [, file]) => sum + file.bytes, 0);
}

function llamaConfig(options: SyntheticOptions) {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: options.hidden,
    intermediate_size: options.intermediate,
    num_hidden_layers: options.layers,
    num_attention_heads: options.heads,
    num_key_value_heads: options.kvHeads,
    vocab_size: options.vocab,
    hidden_act: "silu",
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    torch_dtype: TORCH_DTYPES[options.dtype],
  };
}

function llamaTensors({ layers, hidden, intermediate, heads, kvHeads, vocab, dtype }: SyntheticOptions) {
  const head = hidden / heads;
  const tensor = (name: string, ...shape: number[]): TensorSpec => ({ name: `${name}.weight`, dtype, shape });
  const layer = (index: number): TensorSpec[] => {
    const at = `model.layers.${index}`;
    return [
      tensor(`${at}.input_layernorm`, hidden),
      tensor(`${at}.self_attn.q_proj`, hidden, hidden),
      tensor(`${at}.self_attn.k_proj`, kvHeads * head, hidden),
      tensor(`${at}.self_attn.v_proj`, kvHeads * head, hidden),
      tensor(`${at}.self_attn.o_proj`, hidden, hidden),
      tensor(`${at}.post_attention_layernorm`, hidden),
      tensor(`${at}.mlp.gate_proj`, intermediate, hidden),
      tensor(`${at}.mlp.up_proj`, intermediate, hidden),
      tensor(`${at}.mlp.down_proj`, hidden, intermediate),
    ];
  };
  return [
    tensor("model.embed_tokens", vocab, hidden),
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    tensor("model.norm", hidden),
    tensor("lm_head", vocab, hidden),
  ];
}

/** Cuts the list where each next share of the bytes is reached. */
function splitTensors(tensors: readonly TensorSpec[], shards: number): TensorSpec[][] {
  const total = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  const parts: TensorSpec[][] = Array.from({ length: shards }, () => []);
  let position = 0;
  for (const tensor of tensors) {
    parts[Math.min(Math.floor((position / total) * shards), shards - 1)]?.push(tensor);
    position += tensorBytes(tensor);
  }
  return parts.filter((part) => part.length > 0);
}

function shardName(index: number, count: number): string {
  if (count === 1) return "model.safetensors";
  const five = (value: number) => String(value).padStart(5, "0");
  return `model-${five(index + 1)}-of-${five(count)}.safetensors`;
}

function indexJson(shards: readonly TensorSpec[][], names: readonly string[]): string {
  const weightMap = Object.fromEntries(
    shards.flatMap((tensors, index) => tensors.map(({ name }) => [name, names[index]])),
  );
  const totalSize = shards.flat().reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  return JSON.stringify({ metadata: { total_size: totalSize }, weight_map: weightMap });
}

function shardFile(tensors: readonly TensorSpec[], block: Uint8Array, shard: number): ServedFile {
  const { header, fileBytes } = layOutSafetensors(tensors);
  return {
    bytes: fileBytes,
    etag: `"synthetic-${shard}-${fileBytes.toString(16)}"`,
    *read(start, end) {
      let position = start;
      if (position < header.byteLength) {
        yield header.subarray(position, Math.min(end, header.byteLength));
        position = Math.min(end, header.byteLength);
      }
      while (position < end) {
        const offset = (position - header.byteLength + shard * SHARD_PHASE_BYTES) % block.byteLength;
        const piece = block.subarray(offset, Math.min(offset + end - position, block.byteLength));
        yield piece;
        position += piece.byteLength;
      }
    },
  };
}

const blocks = new Map<SyntheticOptions["dtype"], Uint8Array>();

function noiseBlock(dtype: SyntheticOptions["dtype"]): Uint8Array {
  const block = blocks.get(dtype) ?? makeNoise(dtype);
  blocks.set(dtype, block);
  return block;
}

function makeNoise(dtype: SyntheticOptions["dtype"]): Uint8Array {
  const values = randomNormal(BLOCK_VALUES, seededRandom(1), DEVIATION);
  if (dtype === "F32") return new Uint8Array(values.buffer);
  if (dtype === "F16") return new Uint8Array(new Float16Array(values).buffer);
  const bits = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(bits, (word) => (word + 0x8000) >>> 16).buffer);
}
