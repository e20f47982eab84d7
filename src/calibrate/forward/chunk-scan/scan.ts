import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import { ATTENTION_TILE_ROWS } from "../mixers/attention/attention-tile.ts";
import type { TokenBatch } from "../token-batch.ts";
import productsCode from "./chunk-products.wgsl?raw";
import scanCode from "./chunk-scan.wgsl?raw";
import { SCAN_CHUNK, type ScanColumns, type ScanShape, sliceVecs } from "./scan-layout.ts";

const LANES = 4;

export const chunkProductsKernel = kernel({
  name: "forward.chunk-products",
  code: [productsCode],
  params: struct({
    heads: "u32",
    key_heads: "u32",
    stride: "u32",
    left: "u32",
    keys: "u32",
    products: "u32",
    gates: "u32",
    first: "u32",
    end: "u32",
    scale: "f32",
  }),
  bindings: { tiles: "read", x: "read_write" },
  constants: ["KEY_DIM", "TRANSFORM"],
});

export const chunkScanKernel = kernel({
  name: "forward.chunk-scan",
  code: [scanCode],
  params: struct({
    heads: "u32",
    key_heads: "u32",
    stride: "u32",
    queries: "u32",
    keys: "u32",
    values: "u32",
    value_vecs: "u32",
    scores: "u32",
    transforms: "u32",
    gates: "u32",
    slices: "u32",
    first: "u32",
    end: "u32",
    query_scale: "f32",
    key_scale: "f32",
  }),
  bindings: { sequences: "read", skip: "read", x: "read_write" },
  constants: ["KEY_DIM", "VECS", "LANES", "STATE", "WRITTEN", "DELTA", "SKIP"],
});

export interface ScanOptions {
  readonly shape: ScanShape;
  /** (tokens, stride) float32; gates are computed already (`decayGates`). */
  readonly x: BufferPart;
  readonly stride: number;
  readonly columns: ScanColumns;
  /** Factors of queries and keys. */
  readonly queryScale: number;
  readonly keyScale: number;
  /** One factor a head of the value that is added to the output, or null. */
  readonly skip: BufferPart | null;
}

/**
 * Replaces the values by the output of the recurrence, for each sequence of the batch from a state of zeros: Mamba-2, or
 * the gated delta rule. chunk-scan.wgsl has the formulas.
 */
export async function scan(gpu: Gpu, batch: TokenBatch, options: ScanOptions): Promise<void> {
  const { shape, columns, queryScale, keyScale } = options;
  const { queries, keys, scores, transforms } = columns;
  const products = { gpu, batch, options };
  await chunkProducts(products, shape.keyHeads, {
    left: queries,
    products: scores,
    scale: queryScale * keyScale,
  });
  if (shape.delta) {
    await chunkProducts(products, shape.heads, { left: keys, products: transforms, scale: keyScale ** 2 });
  }
  await walk(gpu, batch, options);
}

interface Products {
  readonly gpu: Gpu;
  readonly batch: TokenBatch;
  readonly options: ScanOptions;
}

async function chunkProducts(
  { gpu, batch, options }: Products,
  heads: number,
  { left, products, scale }: { readonly left: number; readonly products: number; readonly scale: number },
): Promise<void> {
  const { shape, x, stride, columns } = options;
  const { keyHeads, keyDim } = shape;
  const work = 2 * SCAN_CHUNK ** 2 * (keyDim + SCAN_CHUNK);
  const items = batch.tiles.length * (ATTENTION_TILE_ROWS / SCAN_CHUNK) * heads;
  for (const { first, end } of gpu.queue.split(chunkProductsKernel, items, work)) {
    await gpu.queue.run(chunkProductsKernel, {
      params: {
        heads,
        key_heads: keyHeads,
        stride: stride / LANES,
        left: left / LANES,
        keys: columns.keys / LANES,
        products: products / LANES,
        gates: columns.gates,
        first,
        end,
        scale,
      },
      buffers: { tiles: batch.attentionTiles, x },
      constants: { KEY_DIM: keyDim, TRANSFORM: Number(products === columns.transforms && shape.delta) },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}

async function walk(gpu: Gpu, batch: TokenBatch, options: ScanOptions): Promise<void> {
  const { shape, x, stride, columns, queryScale, keyScale, skip } = options;
  const { heads, keyHeads, keyDim, valueDim, delta } = shape;
  const vecs = sliceVecs(shape);
  const slices = Math.ceil(valueDim / LANES / vecs);
  const work = batch.longest * vecs * LANES * 2 * (3 * keyDim + 2 * SCAN_CHUNK);
  const items = batch.lengths.length * heads * slices;
  for (const { first, end } of gpu.queue.split(chunkScanKernel, items, work)) {
    await gpu.queue.run(chunkScanKernel, {
      params: {
        heads,
        key_heads: keyHeads,
        stride: stride / LANES,
        queries: columns.queries / LANES,
        keys: columns.keys / LANES,
        values: columns.values / LANES,
        value_vecs: valueDim / LANES,
        scores: columns.scores / LANES,
        transforms: columns.transforms / LANES,
        gates: columns.gates,
        slices,
        first,
        end,
        query_scale: queryScale,
        key_scale: keyScale,
      },
      // A binding that is not read still needs a buffer, and one that is written must be alone.
      buffers: { sequences: batch.sequences, skip: skip ?? batch.sequences, x },
      constants: {
        KEY_DIM: keyDim,
        VECS: vecs,
        LANES: SCAN_CHUNK * vecs,
        STATE: keyDim * vecs,
        WRITTEN: SCAN_CHUNK * vecs,
        DELTA: Number(delta),
        SKIP: Number(skip !== null),
      },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}
