import { UnsupportedModelError } from "../../../../errors.ts";
import type { Gpu } from "../../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../../gpu/kernel.ts";
import { struct } from "../../../../gpu/struct.ts";
import type { Attention } from "../../../../model/decoder-description.ts";
import type { TokenBatch } from "../../token-batch.ts";
import { ATTENTION_TILE_ROWS, type AttentionTile } from "./attention-tile.ts";
import code from "./attention.wgsl?raw";

const LANES = 4;
const ROWS_EACH = 8;
const ROW_GROUPS = ATTENTION_TILE_ROWS / ROWS_EACH;
const COLUMN_GROUPS = 16;
const KEYS_EACH = 4;
const DIMS = 16;
const MAX_OUT_VECS = 4;
/** 16 KiB of workgroup memory, the smallest limit, in vec4. */
const MAX_ARENA = 1024;
/** Heads larger than this do not fit the invocations' registers. */
export const MAX_HEAD_DIM = COLUMN_GROUPS * LANES * MAX_OUT_VECS;

export const attentionKernel = kernel({
  name: "forward.attention",
  code: [code],
  params: struct({
    heads: "u32",
    kv_heads: "u32",
    stride: "u32",
    keys: "u32",
    values: "u32",
    first: "u32",
    end: "u32",
    window: "u32",
    scale: "f32",
    soft_cap: "f32",
  }),
  bindings: { tiles: "read", qkv: "read_write" },
  constants: ["HEAD_DIM", "ROW_GROUPS", "COLUMN_GROUPS", "DIMS", "KEYS", "OUT_VECS", "ARENA"],
});

/** Columns of a row of queries, keys and values. */
export function qkvColumns({ heads, kvHeads, headDim }: Attention): number {
  return (heads + 2 * kvHeads) * headDim;
}

/** @throws UnsupportedModelError if the heads are larger than the kernel's registers. */
export function checkHeadDim({ module, headDim }: Attention): void {
  if (headDim <= MAX_HEAD_DIM) return;
  throw new UnsupportedModelError(
    `${module} has heads of ${headDim} values; calibration can compute attention with heads of up to ${MAX_HEAD_DIM}. Recipes without calibration still work.`,
  );
}

/** Begins to compile attention with such heads before it is wanted. */
export function prepareAttention(gpu: Gpu, { headDim }: Pick<Attention, "headDim">): void {
  gpu.queue.prepare(attentionKernel, tileConstants(headDim));
}

/**
 * Replaces the queries in `qkv`, (tokens, qkvColumns) float32 without gaps, by softmax(q kᵀ · scale) v of each head.
 * Every token sees itself and the tokens before it in its own sequence, as far as the sliding window goes.
 */
export async function attend(
  gpu: Gpu,
  attention: Attention,
  qkv: BufferPart,
  batch: TokenBatch,
): Promise<void> {
  const { heads, kvHeads, headDim } = attention;
  const constants = tileConstants(headDim);
  for (const { first, end, work } of splitTiles(gpu, attention, batch.tiles)) {
    await gpu.queue.run(attentionKernel, {
      params: {
        heads,
        kv_heads: kvHeads,
        stride: qkvColumns(attention) / LANES,
        keys: (heads * headDim) / LANES,
        values: ((heads + kvHeads) * headDim) / LANES,
        first,
        end,
        window: attention.slidingWindow ?? 0,
        scale: attention.scale,
        soft_cap: attention.softCap ?? 0,
      },
      buffers: { tiles: batch.attentionTiles, qkv },
      constants,
      workgroups: spreadWorkgroups(end - first),
      work,
    });
  }
}

function tileConstants(headDim: number) {
  const OUT_VECS = Math.ceil(headDim / LANES / COLUMN_GROUPS);
  const rowsPitch = ATTENTION_TILE_ROWS / LANES + 1;
  const keysPitch = (COLUMN_GROUPS * KEYS_EACH) / LANES + 1;
  const staged = (keys: number) => keys * (rowsPitch + OUT_VECS * COLUMN_GROUPS);
  const KEYS = staged(16) <= MAX_ARENA ? 16 : 8;
  const exchanged = (COLUMN_GROUPS * ATTENTION_TILE_ROWS) / LANES;
  const ARENA = Math.max(DIMS * (rowsPitch + keysPitch), staged(KEYS), exchanged);
  return { HEAD_DIM: headDim, ROW_GROUPS, COLUMN_GROUPS, DIMS, KEYS, OUT_VECS, ARENA };
}

/** Multiply-adds of both products of one head: every row of a tile meets every key that one of them sees. */
function tileWork({ firstRow, endRow, sequenceStart }: AttentionTile, attention: Attention): number {
  const seen = attention.slidingWindow ?? Number.POSITIVE_INFINITY;
  const keys = Math.min(endRow - sequenceStart, endRow - firstRow + seen);
  return 4 * ATTENTION_TILE_ROWS * keys * attention.headDim;
}

/** Runs of (tile, head) pairs that each fit one submit; late tiles of long sequences cost more than early ones. */
function* splitTiles(
  gpu: Gpu,
  attention: Attention,
  tiles: readonly AttentionTile[],
): Generator<{ first: number; end: number; work: number }> {
  const items = tiles.length * attention.heads;
  let first = 0;
  let work = 0;
  for (let item = 0; item < items; item++) {
    const tile = tiles[Math.floor(item / attention.heads)];
    const each = tile ? tileWork(tile, attention) : 0;
    if (item > first && work + each > gpu.queue.workLimit(attentionKernel)) {
      yield { first, end: item, work };
      first = item;
      work = 0;
    }
    work += each;
  }
  if (items > first) yield { first, end: items, work };
}
