// One decoder layer from the host to GPU buffers. As many of its Linears as the budget holds are resident for a pass
// over the samples; the others are streamed through one tile whenever the forward pass asks for them.

import { allEnded } from "../all-ended.ts";
import { madeOf } from "../disposal.ts";
import { invariant } from "../errors.ts";
import { DTYPE_BITS, type FloatDtype, widenToFloat32 } from "../formats/numbers/dtype.ts";
import { spreadRows } from "../formats/weights/spread-rows.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../gpu/memory.ts";
import type { UploadRing, WritePart } from "../gpu/staging/upload-ring.ts";
import { divideLinears, type Residency, streamBytes, strideOf, tileShape } from "./residency.ts";
import type { Linear } from "../model/weight-description.ts";
import { type HostLayer, linearRows, floatTensor } from "./host-layer.ts";

export interface RowTile {
  readonly weight: LedgerBuffer;
  readonly dtype: FloatDtype;
  readonly stride: number;
  readonly firstRow: number;
  readonly rows: number;
}

export interface OnloadedLayer extends Disposable {
  rowTiles(module: string): AsyncIterable<RowTile>;
  /** A resident Linear that is one tile; null for any other. */
  whole(module: string): RowTile | null;
  vector(tensor: string): Promise<LedgerBuffer>;
  /** Copies rows of a resident Linear, one after the other as they lie in the source, to a buffer. */
  copyRows(module: string, firstRow: number, rows: number, to: LedgerBuffer): Promise<void>;
  /** The way back: replaces rows by what lies in a buffer. */
  replaceRows(module: string, firstRow: number, rows: number, from: LedgerBuffer): Promise<void>;
}

/** True if resident rows have no padding, so that they can be copied as they lie in the source. */
export function hasPlainRows({ columns }: Pick<Linear, "columns">, dtype: FloatDtype): boolean {
  return strideOf(columns, dtype) === columns;
}

/** GPU bytes of the layer's vectors as float32. */
export function vectorBytes(elements: readonly number[]): number {
  return elements.reduce((sum, count) => sum + bufferBytes(count * 4), 0);
}

export interface OnloadedParts {
  readonly linears: readonly Linear[];
  /** Names of the tensors that are not weights of Linears: norms and biases. */
  readonly vectors: readonly string[];
  /** Resident Linears that have come already, by module; they go with the layer. None if absent. */
  readonly come?: ReadonlyMap<string, readonly RowTile[]>;
}

/** Onloads a layer for one pass. What has come of it already is given back, too, if that fails. */
export async function onloadLayer(
  gpu: Gpu,
  uploads: UploadRing,
  host: HostLayer,
  parts: OnloadedParts,
  residency: Residency,
): Promise<OnloadedLayer> {
  const limit = Math.min(gpu.device.limits.maxStorageBufferBindingSize, gpu.device.limits.maxBufferSize);
  const linears = new Map(parts.linears.map((linear) => [linear.module, linear]));
  const dtypeOf = (tensor: string) => floatTensor(host, tensor).dtype;
  const tileBytes = Math.min(residency.tileBytes, limit);
  const resident = new Map<string, readonly RowTile[]>(parts.come);
  const buffers: OnloadedBuffers = { vectors: new Map(), resident, stream: null };
  return await madeOf(async (made) => {
    const layer = made.use(
      onloaded(gpu, buffers, async function* (module) {
        const linear = linears.get(module);
        invariant(linear && buffers.stream, `${module} is onloaded`);
        yield* streamTiles(uploads, host, linear, { weight: buffers.stream, tileBytes });
      }),
    );
    const divided = divideLinears(parts.linears, dtypeOf, residency, limit);
    const missing = divided.resident.filter(({ module }) => !resident.has(module));
    // Asked for one by one, each would be waited for.
    await allEnded([
      onloadVectors(gpu, uploads, host, parts.vectors, buffers.vectors),
      roomToStream(gpu, buffers, streamBytes(divided.streamed, dtypeOf, tileBytes)),
      ...missing.map(async (linear) => await roomForWhole(gpu, host, { linear, limit, resident })),
    ]);
    await uploads.writeAll(wholeParts(host, missing, resident));
    return layer;
  });
}

/** What a layer's weights lie in, as far as they have room yet. */
interface OnloadedBuffers {
  readonly vectors: Map<string, LedgerBuffer>;
  readonly resident: ReadonlyMap<string, readonly RowTile[]>;
  stream: LedgerBuffer | null;
}

/** A layer whose Linears lie in buffers, or come by `streamed`; it has those that come later, too. */
export function onloaded(
  gpu: Gpu,
  buffers: OnloadedBuffers,
  streamed: OnloadedLayer["rowTiles"],
): OnloadedLayer {
  const { vectors, resident } = buffers;
  return {
    async *rowTiles(module) {
      const tiles = resident.get(module);
      if (tiles) return yield* tiles;
      yield* streamed(module);
    },
    whole(module) {
      const [tile, ...others] = resident.get(module) ?? [];
      return tile && others.length === 0 ? tile : null;
    },
    async vector(tensor) {
      const vector = vectors.get(tensor);
      invariant(vector, `${tensor} is onloaded`);
      return await Promise.resolve(vector);
    },
    async copyRows(module, firstRow, rows, to) {
      for (const { of, offset, at, bytes } of residentParts(resident, module, firstRow, rows)) {
        await gpu.queue.copy({ of, offset }, { of: to, offset: at }, bytes);
      }
    },
    async replaceRows(module, firstRow, rows, from) {
      for (const { of, offset, at, bytes } of residentParts(resident, module, firstRow, rows)) {
        await gpu.queue.copy({ of: from, offset: at }, { of, offset }, bytes);
      }
    },
    [Symbol.dispose]() {
      for (const vector of vectors.values()) vector[Symbol.dispose]();
      for (const tile of [...resident.values()].flat()) tile.weight[Symbol.dispose]();
      buffers.stream?.[Symbol.dispose]();
    },
  };
}

/** Where rows of a resident Linear lie: a range of a tile's buffer, and its place among the rows. */
function residentParts(
  resident: ReadonlyMap<string, readonly RowTile[]>,
  module: string,
  firstRow: number,
  rows: number,
): { readonly of: LedgerBuffer; readonly offset: number; readonly at: number; readonly bytes: number }[] {
  const tiles = resident.get(module);
  invariant(tiles, `${module} is resident`);
  return tiles.flatMap((tile) => {
    const first = Math.max(firstRow, tile.firstRow);
    const end = Math.min(firstRow + rows, tile.firstRow + tile.rows);
    if (first >= end) return [];
    const rowBytes = (tile.stride * DTYPE_BITS[tile.dtype]) / 8;
    return [
      {
        of: tile.weight,
        offset: (first - tile.firstRow) * rowBytes,
        at: (first - firstRow) * rowBytes,
        bytes: (end - first) * rowBytes,
      },
    ];
  });
}

/** Norms and biases as float32, put by name among a layer's `vectors`: it has their buffers even if their values never come. */
export async function onloadVectors(
  gpu: Gpu,
  uploads: UploadRing,
  host: HostLayer,
  names: readonly string[],
  vectors: Map<string, LedgerBuffer>,
): Promise<void> {
  const values = names.map((name) => {
    const { dtype, bytes } = floatTensor(host, name);
    return { name, floats: widenToFloat32(dtype, bytes.read(0, bytes.byteLength)) };
  });
  const requests = values.map(({ name, floats }) => ({ label: name, bytes: floats.byteLength }));
  const allocated: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  for (const [index, { name }] of values.entries()) {
    const buffer = allocated[index];
    invariant(buffer, "a buffer for each vector");
    vectors.set(name, buffer);
  }
  for (const { name, floats } of values) {
    const buffer = vectors.get(name);
    invariant(buffer, "each vector has a buffer");
    await uploads.write(new Uint8Array(floats.buffer), buffer);
  }
}

/** Room for one tile after the other, where there are any. */
async function roomToStream(gpu: Gpu, buffers: OnloadedBuffers, bytes: number): Promise<void> {
  if (bytes > 0) buffers.stream = await gpu.memory.allocate({ label: "streamed weights", bytes });
}

/** A Linear that is to lie on the GPU whole, in buffers of at most `limit` bytes, among those that do. */
interface WholeLinear {
  readonly linear: Linear;
  readonly limit: number;
  readonly resident: Map<string, readonly RowTile[]>;
}

/** Onloads a Linear whole, and puts it among those that are resident. */
export async function onloadWhole(
  gpu: Gpu,
  uploads: UploadRing,
  host: HostLayer,
  whole: WholeLinear,
): Promise<void> {
  await roomForWhole(gpu, host, whole);
  await uploads.writeAll(wholeParts(host, [whole.linear], whole.resident));
}

/** The same while the GPU is given other work, which the weight goes ahead of. */
export async function onloadEarly(
  gpu: Gpu,
  uploads: UploadRing,
  host: HostLayer,
  whole: WholeLinear,
): Promise<void> {
  await roomForWhole(gpu, host, whole);
  for (const { bytes, to } of wholeParts(host, [whole.linear], whole.resident))
    await uploads.writeAhead(bytes, to);
}

/** Whoever disposes of the layer finds the buffers among those that are resident, even if the weights never come. */
async function roomForWhole(
  gpu: Gpu,
  host: HostLayer,
  { linear, limit, resident }: WholeLinear,
): Promise<void> {
  const { dtype } = floatTensor(host, linear.source.tensor);
  const { stride, rowBytes, tileRows } = tileShape(linear, dtype, limit);
  const parts: { readonly firstRow: number; readonly rows: number }[] = [];
  for (let firstRow = 0; firstRow < linear.rows; firstRow += tileRows) {
    parts.push({ firstRow, rows: Math.min(tileRows, linear.rows - firstRow) });
  }
  const requests = parts.map(({ rows }) => ({ label: linear.module, bytes: rows * rowBytes }));
  const weights: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  const tiles = parts.flatMap((part, index): RowTile[] => {
    const weight = weights[index];
    return weight ? [{ weight, dtype, stride, ...part }] : [];
  });
  resident.set(linear.module, tiles);
}

/** Tiles of Linears for which there is room; each is read when it is asked for. */
function* wholeParts(
  host: HostLayer,
  linears: readonly Linear[],
  resident: ReadonlyMap<string, readonly RowTile[]>,
): Generator<WritePart> {
  for (const linear of linears) {
    const tiles = resident.get(linear.module);
    invariant(tiles, `there is room for ${linear.module}`);
    for (const { dtype, stride, firstRow, rows, weight } of tiles) {
      const rowBytes = (stride * DTYPE_BITS[dtype]) / 8;
      yield { bytes: paddedRows(host, linear, { rowBytes, firstRow, rows }), to: weight, offset: 0 };
    }
  }
}

async function* streamTiles(
  uploads: UploadRing,
  host: HostLayer,
  linear: Linear,
  { weight, tileBytes }: { readonly weight: LedgerBuffer; readonly tileBytes: number },
): AsyncGenerator<RowTile> {
  const { dtype } = floatTensor(host, linear.source.tensor);
  const shape = tileShape(linear, dtype, tileBytes);
  for (let firstRow = 0; firstRow < linear.rows; firstRow += shape.tileRows) {
    const rows = Math.min(shape.tileRows, linear.rows - firstRow);
    await uploads.write(paddedRows(host, linear, { rowBytes: shape.rowBytes, firstRow, rows }), weight);
    yield { weight, dtype, stride: shape.stride, firstRow, rows };
  }
}

/** Rows as they lie on the GPU, to be read only. */
function paddedRows(
  host: HostLayer,
  linear: Linear,
  { rowBytes, firstRow, rows }: { rowBytes: number; firstRow: number; rows: number },
): Uint8Array<ArrayBuffer> {
  const bytes = linearRows(host, linear, firstRow, rows);
  return spreadRows(bytes, bytes.byteLength / rows, rowBytes);
}
