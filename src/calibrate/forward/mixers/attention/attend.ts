import { UnsupportedModelError } from "../../../../errors.ts";
import type { Gpu } from "../../../../gpu/gpu.ts";
import { type BufferPart, spreadWorkgroups } from "../../../../gpu/kernel.ts";
import type { TokenBatch } from "../../token-batch.ts";
import { ATTENTION_TILE_ROWS, type AttentionTile } from "./attention-tile.ts";
import { attentionKernel, directAttentionKernel } from "./attention-kernels.ts";
import type { Attention } from "../../../../model/mixer-description.ts";

const LANES = 4;
const ROWS_EACH = 8;
const ROW_GROUPS = ATTENTION_TILE_ROWS / ROWS_EACH;
const COLUMN_GROUPS = 16;
const KEYS_EACH = 4;
const DIMS = 16;
const MAX_OUT_VECS = 4;
/** 16 KiB of workgroup memory, the smallest limit, in vec4. */
const MAX_ARENA = 1024;
/** Values of a head that one workgroup keeps. */
const PART_DIM = COLUMN_GROUPS * LANES * MAX_OUT_VECS;
/** Heads larger than this are in no model that we know. */
export const MAX_HEAD_DIM = 1024;

/** Where the heads of a token lie in its row; all are multiples of 4. */
export interface HeadColumns {
  readonly keys: number;
  /** From one head's keys to the next one's. */
  readonly keyStride: number;
  /** Dims of a key before those that all heads share, which lie at `sharedKeys`. */
  readonly ownDim: number;
  readonly sharedKeys: number;
  readonly values: number;
  readonly valueStride: number;
  /** heads · valueDim: the queries themselves, where no other workgroup reads what one replaces. */
  readonly output: number;
  readonly stride: number;
}

export interface AttentionColumns extends HeadColumns {
  /** heads · valueDim, where there is a gate. */
  readonly gate: number;
}

/** Columns of queries, keys and values one after the other, of the output if it cannot replace the queries, and a gate. */
export function attentionColumns(attention: HeadSizes & Pick<Attention, "gate">): AttentionColumns {
  const { heads, kvHeads, headDim, valueDim } = attention;
  const keys = heads * headDim;
  const values = keys + kvHeads * headDim;
  const end = values + kvHeads * valueDim;
  const isInPlace = valueDim === headDim && valueDim <= PART_DIM;
  const gate = isInPlace ? end : end + heads * valueDim;
  return {
    keys,
    keyStride: headDim,
    ownDim: headDim,
    sharedKeys: 0,
    values,
    valueStride: valueDim,
    output: isInPlace ? 0 : end,
    gate,
    stride: attention.gate ? gate + heads * valueDim : gate,
  };
}

type HeadSizes = Pick<Attention, "heads" | "kvHeads" | "headDim" | "valueDim">;

/** @throws UnsupportedModelError if the heads are larger than what is known to work. */
export function checkHeadDim({
  module,
  headDim,
  valueDim,
}: Pick<Attention, "module" | "headDim" | "valueDim">): void {
  const largest = Math.max(headDim, valueDim);
  if (largest <= MAX_HEAD_DIM) return;
  throw new UnsupportedModelError(
    `${module} has heads of ${largest} values; calibration can compute attention with heads of up to ${MAX_HEAD_DIM}. Recipes without calibration still work.`,
  );
}

/** True where attention is computed without workgroup memory. */
function isDirect({ adapter }: Pick<Gpu, "adapter">): boolean {
  return adapter.software;
}

/** Begins to compile attention with such heads before it is wanted. */
export function prepareAttention(
  gpu: Gpu,
  attention: Pick<Attention, "headDim" | "valueDim" | "sinks"> & { readonly ownDim: number },
): void {
  const form = { ...attention, sinks: attention.sinks !== null };
  if (isDirect(gpu)) gpu.queue.prepare(directAttentionKernel, directConstants(form));
  else gpu.queue.prepare(attentionKernel, tileConstants(form));
}

/** What attention computes, apart from where its heads lie. */
export type Attending = HeadSizes &
  Pick<Attention, "scale" | "softCap" | "slidingWindow" | "chunk" | "temperature" | "valueScale">;

export interface AttendOptions {
  readonly attention: Attending;
  /** (tokens, columns.stride) float32, queries first. */
  readonly qkv: BufferPart;
  readonly columns: HeadColumns;
  /** One logit a head, or null. */
  readonly sinks: BufferPart | null;
}

/**
 * Writes softmax(q kᵀ · scale) v of each head to the output's columns. Every token sees itself and the tokens before it in
 * its own sequence, as far as the sliding window and its chunk go.
 */
export async function attend(
  gpu: Gpu,
  batch: TokenBatch,
  options: AttendOptions,
  direct = isDirect(gpu),
): Promise<void> {
  const { attention, qkv, columns, sinks } = options;
  const { headDim, valueDim } = attention;
  const form = { headDim, valueDim, ownDim: columns.ownDim, sinks: sinks !== null };
  const limit = () => gpu.queue.workLimit(direct ? directAttentionKernel : attentionKernel);
  for (const { first, end, work } of splitTiles(limit, attention, batch.tiles)) {
    const dispatch = {
      params: { ...attentionParams(attention, columns), first, end },
      // A binding that is not read still needs a buffer.
      buffers: { tiles: batch.attentionTiles, sinks: sinks ?? batch.attentionTiles, qkv },
      workgroups: spreadWorkgroups(end - first),
      work,
    };
    if (direct) await gpu.queue.run(directAttentionKernel, { ...dispatch, constants: directConstants(form) });
    else await gpu.queue.run(attentionKernel, { ...dispatch, constants: tileConstants(form) });
  }
}

function attentionParams(attention: Attending, columns: HeadColumns) {
  const { temperature } = attention;
  return {
    heads: attention.heads,
    kv_heads: attention.kvHeads,
    stride: columns.stride / LANES,
    keys: columns.keys / LANES,
    key_stride: columns.keyStride / LANES,
    shared_keys: columns.sharedKeys / LANES,
    values: columns.values / LANES,
    value_stride: columns.valueStride / LANES,
    output: columns.output / LANES,
    parts: valueParts(attention),
    window: attention.slidingWindow ?? 0,
    chunk: attention.chunk ?? 0,
    temperature_every: temperature?.every ?? 1,
    temperature_offset: temperature?.offset ?? 0,
    temperature_slope: temperature?.slope ?? 0,
    scale: attention.scale,
    value_scale: attention.valueScale,
    soft_cap: attention.softCap ?? 0,
  };
}

/** Workgroups that share a head's values. */
function valueParts({ valueDim }: Pick<Attention, "valueDim">): number {
  return Math.ceil(valueDim / PART_DIM);
}

interface TileForm {
  readonly headDim: number;
  readonly valueDim: number;
  readonly ownDim: number;
  readonly sinks: boolean;
}

function formConstants({ headDim, valueDim, ownDim, sinks }: TileForm) {
  return { HEAD_DIM: headDim, VALUE_DIM: valueDim, OWN_DIM: ownDim, SINKS: Number(sinks) };
}

function directConstants(form: TileForm) {
  return { ...formConstants(form), PART_VECS: Math.ceil(Math.min(form.valueDim, PART_DIM) / LANES) };
}

function tileConstants(form: TileForm) {
  const { valueDim } = form;
  const OUT_VECS = Math.ceil(Math.min(valueDim, PART_DIM) / LANES / COLUMN_GROUPS);
  const rowsPitch = ATTENTION_TILE_ROWS / LANES + 1;
  const keysPitch = (COLUMN_GROUPS * KEYS_EACH) / LANES + 1;
  const staged = (keys: number) => keys * (rowsPitch + OUT_VECS * COLUMN_GROUPS);
  const KEYS = staged(16) <= MAX_ARENA ? 16 : 8;
  const exchanged = (COLUMN_GROUPS * ATTENTION_TILE_ROWS) / LANES;
  const ARENA = Math.max(DIMS * (rowsPitch + keysPitch), staged(KEYS), exchanged);
  return {
    ...formConstants(form),
    ROW_GROUPS,
    COLUMN_GROUPS,
    DIMS,
    KEYS,
    OUT_VECS,
    ARENA,
  };
}

/** Multiply-adds of both products of one part: every row of a tile meets every key that one of them sees. */
function tileWork({ firstRow, endRow, sequenceStart }: AttentionTile, attention: Attending): number {
  const { slidingWindow, chunk, headDim, valueDim } = attention;
  const seen = Math.min(slidingWindow ?? Number.POSITIVE_INFINITY, chunk ?? Number.POSITIVE_INFINITY);
  const keys = Math.min(endRow - sequenceStart, endRow - firstRow + seen);
  return 2 * ATTENTION_TILE_ROWS * keys * (headDim + Math.min(valueDim, PART_DIM));
}

/** Runs of (tile, head, part) items that each fit one submit; late tiles of long sequences cost more than early ones. */
function* splitTiles(
  limit: () => number,
  attention: Attending,
  tiles: readonly AttentionTile[],
): Generator<{ first: number; end: number; work: number }> {
  const perTile = attention.heads * valueParts(attention);
  const items = tiles.length * perTile;
  let first = 0;
  let work = 0;
  for (let item = 0; item < items; item++) {
    const tile = tiles[Math.floor(item / perTile)];
    const each = tile ? tileWork(tile, attention) : 0;
    if (item > first && work + each > limit()) {
      yield { first, end: item, work };
      first = item;
      work = 0;
    }
    work += each;
  }
  if (items > first) yield { first, end: items, work };
}
