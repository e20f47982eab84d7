// What token blocks are given (Gemma 4): it depends on a token's id and the layer alone, so that for each layer a table of the
// ids that occur is made once, and each token takes its row.

import { DeviceLimitError } from "../../../errors.ts";
import { type Lifetime, openTogether } from "../../../disposal.ts";
import { formatBytes } from "../../../formats/text/format-bytes.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../../gpu/memory.ts";
import { forwardProduct } from "../../../gpu/matmul/forward-product.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { TokenInputs } from "../../../model/decoder-description.ts";
import { normalize } from "../norm/normalize.ts";

/** Ids whose inputs are computed at once. */
const RUN = 512;

/** Where the inputs of a set of ids come from; ids are counted from 0. */
export interface TokenInputSource {
  /** How many ids there are. */
  readonly ids: number;
  /** First hidden states of ids [first, end), (ids, hidden). */
  states(first: number, end: number): Promise<Float32Array<ArrayBuffer>>;
  /** Their rows of the table for a layer, (ids, size), as it holds them. */
  rows(layer: number, first: number, end: number): Promise<Float32Array<ArrayBuffer>>;
  /** Rows of the projection for a layer, (size, hidden). */
  projection(layer: number): Promise<Float32Array<ArrayBuffer>>;
  /** The norm's weight. */
  norm(): Promise<Float32Array<ArrayBuffer>>;
}

export interface TokenTables extends Disposable {
  /** (ids, size) float32: what a layer is given; valid until another layer's is asked for. */
  of(layer: number): Promise<LedgerBuffer>;
}

type Sizes = Pick<TokenInputs, "size"> & { readonly hiddenSize: number; readonly ids: number };

function byteSizes({ size, hiddenSize, ids }: Sizes) {
  const run = Math.min(ids, RUN);
  return {
    table: ids * size * 4,
    states: run * hiddenSize * 4,
    product: run * size * 4,
    projection: size * hiddenSize * 4,
    norm: size * 4,
  };
}

/**
 * GPU bytes of the tables.
 * @throws DeviceLimitError if a table is larger than a buffer
 */
export function tokenTablesBytes(sizes: Sizes, maxBufferBytes: number): number {
  const bytes = byteSizes(sizes);
  if (bytes.table > maxBufferBytes) {
    throw new DeviceLimitError(
      `The samples have ${sizes.ids} different tokens, of which each layer is given ${sizes.size} values: ${formatBytes(bytes.table)}, and this GPU binds ${formatBytes(maxBufferBytes)} at once. Take fewer samples.`,
    );
  }
  return Object.values(bytes).reduce((sum, each) => sum + bufferBytes(each), 0);
}

export async function openTokenTables(
  gpu: Gpu,
  uploads: UploadRing,
  inputs: TokenInputs,
  hiddenSize: number,
  source: TokenInputSource,
): Promise<TokenTables> {
  return await openTogether(async (parts) => {
    const sizes = { size: inputs.size, hiddenSize, ids: source.ids };
    const buffers = await createBuffers(gpu, sizes, parts);
    await uploads.write(asBytes(await source.norm()), buffers.norm);
    let current = -1;
    return {
      async of(layer) {
        if (layer !== current) await fill({ gpu, uploads, inputs, source, buffers, sizes }, layer);
        current = layer;
        return buffers.table;
      },
    };
  });
}

async function createBuffers(gpu: Gpu, sizes: Sizes, lifetime: Lifetime) {
  const bytes = byteSizes(sizes);
  const [table, states, product, projection, norm] = await gpu.memory.allocateAll([
    { label: "token inputs", bytes: bytes.table },
    { label: "first hidden states of ids", bytes: bytes.states },
    { label: "projected token inputs", bytes: bytes.product },
    { label: "projection of token inputs", bytes: bytes.projection },
    { label: "norm of token inputs", bytes: bytes.norm },
  ]);
  const buffers = { table, states, product, projection, norm };
  for (const buffer of Object.values(buffers)) lifetime.use(buffer);
  return buffers;
}

interface Filling {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly inputs: TokenInputs;
  readonly source: TokenInputSource;
  readonly buffers: Awaited<ReturnType<typeof createBuffers>>;
  readonly sizes: Sizes;
}

/** table = factor · multiplier · rows + factor · norm(scale · states projectionᵀ) */
async function fill({ gpu, uploads, inputs, source, buffers, sizes }: Filling, layer: number): Promise<void> {
  const { size, hiddenSize, ids } = sizes;
  const { scale: alpha, norm, factor, table } = inputs;
  const [columns, stride] = [size, size];
  await uploads.write(asBytes(await source.projection(layer)), buffers.projection);
  for (let first = 0; first < ids; first += RUN) {
    const end = Math.min(first + RUN, ids);
    const rows = end - first;
    const own = await source.rows(layer, first, end);
    await uploads.write(
      asBytes(own.map((value) => factor * table.multiplier * value)),
      buffers.table,
      first * size * 4,
    );
    await uploads.write(asBytes(await source.states(first, end)), buffers.states);
    await forwardProduct(gpu, {
      m: rows,
      n: size,
      k: hiddenSize,
      a: { buffer: buffers.states, stride: hiddenSize },
      b: { buffer: buffers.projection, stride: hiddenSize },
      bDtype: "F32",
      c: { buffer: buffers.product, stride },
      alpha,
      accumulate: false,
    });
    await normalize(gpu, {
      norm,
      weight: buffers.norm,
      bias: null,
      rows,
      columns,
      x: { buffer: buffers.product, stride },
      y: { buffer: buffers.table, stride, offset: first * size },
      accumulate: { scale: factor },
    });
  }
}

function asBytes({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
