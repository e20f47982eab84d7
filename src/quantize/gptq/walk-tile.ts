import type { Gpu } from "../../gpu/gpu.ts";
import {
  addSpanProduct,
  type ColumnRange,
  columnSpans,
  panelAt,
} from "../../gpu/triangular/lower-product.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { floatStrideOf, type GptqBuffers } from "./gptq-buffers.ts";
import { type GptqTile, WALK_BLOCK, walkBlock } from "./gptq-kernels.ts";

/** Columns whose errors are pushed onto all columns before them at once. */
const SPAN = 1024;

/**
 * Quantizes block after block, from the last column to the first. A block's errors go to the rest of its span at once,
 * and a span's errors to all columns before it in one product, which fills the GPU and reads the rest only once.
 */
export async function walkTile(
  gpu: Gpu,
  tile: GptqTile,
  factor: TriangularMatrix,
  buffers: GptqBuffers,
): Promise<void> {
  const stride = floatStrideOf(tile.columns);
  const { pushed, codes, errors } = buffers;
  for (const span of columnSpans(factor, SPAN).toReversed()) {
    const { panel, buffer } = panelAt(factor, span.first);
    for (let end = span.end; end > span.first;) {
      const first = Math.floor((end - 1) / WALK_BLOCK) * WALK_BLOCK;
      const block = { first, end, panel: buffer, panelFirstRow: panel.firstRow, panelStride: panel.stride };
      await walkBlock(gpu, tile, block, { pushed, codes, errors }, stride);
      await pushErrors(gpu, factor, buffers, tile, { from: block, to: { first: span.first, end: first } });
      end = first;
    }
    await pushErrors(gpu, factor, buffers, tile, { from: span, to: { first: 0, end: span.first } });
  }
}

/** pushed[:, to] += errors[:, from] · L[from, to]. */
async function pushErrors(
  gpu: Gpu,
  factor: TriangularMatrix,
  { errors, pushed }: GptqBuffers,
  tile: GptqTile,
  ranges: { readonly from: ColumnRange; readonly to: ColumnRange },
): Promise<void> {
  const stride = floatStrideOf(tile.columns);
  const product = { m: tile.rows, a: { buffer: errors, stride }, c: { buffer: pushed, stride } };
  await addSpanProduct(gpu, factor, product, ranges);
}
