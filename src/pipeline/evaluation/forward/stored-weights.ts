// A stored model's weights as the forward pass asks for them: Linears resident as far as there is room, the others tile by tile;
// norms and biases when they are first asked for; inputs rounded where the scheme has it.

import { roundInput } from "../../../calibrate/forward/round-input/round-input.ts";
import type { Activations, LayerWeights } from "../../../calibrate/forward/layer-weights.ts";
import { invariant } from "../../../errors.ts";
import { isSimulated } from "../../../evaluate/graph/quantize-input.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { inputQuantization, readFloats } from "../../../evaluate/weights/weight-values.ts";
import type { FloatDtype } from "../../../formats/numbers/dtype.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { Linear } from "../../../model/weight-description.ts";
import type { RowTile } from "../../../onload/layer-weights.ts";
import { divideLinears, type Residency, streamBytes, tileShape } from "../../../onload/residency.ts";
import { rowsDtype, type StoredRows } from "./stored-rows.ts";
import type { WeightRooms } from "./weight-rooms.ts";

export interface StoredWeights extends LayerWeights, Disposable {}

export interface WeightServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly rows: StoredRows;
  readonly rooms: WeightRooms;
  /** Where rounded inputs go; null if no Linear rounds them. */
  readonly rounded: LedgerBuffer | null;
}

/** What `residency.ts` asks of a weight's tensor, of a model's Linears. */
export function dtypesOf(model: StoredModel, linears: readonly Linear[]) {
  const dtypes = new Map(linears.map((linear) => [linear.source.tensor, rowsDtype(model, linear)]));
  return (tensor: string) => dtypes.get(tensor) ?? "F32";
}

/** True if the forward pass rounds what this Linear is given. */
export function roundsInput(model: StoredModel, linear: Linear): boolean {
  const quantization = inputQuantization(model, linear);
  return quantization !== null && isSimulated(quantization.args);
}

/**
 * Onloads Linears.
 * @throws DeviceLimitError if they do not fit as `residency` has them
 */
export async function onloadStored(
  services: WeightServices,
  model: StoredModel,
  linears: readonly Linear[],
  residency: Residency,
): Promise<StoredWeights> {
  const { gpu } = services;
  const limit = bindingLimit(gpu);
  const dtypeOf = dtypesOf(model, linears);
  const { resident, streamed } = divideLinears(linears, dtypeOf, residency, limit);
  const tileBytes = Math.min(residency.tileBytes, limit);
  const buffers: OnloadedBuffers = { vectors: new Map(), tiles: new Map(), stream: null };
  const onloaded = weightsIn(buffers, services, model, { linears, tileBytes });
  try {
    // Disposing finds the buffers, even if the weights never come.
    for (const [module, tiles] of await roomFor(services, resident, dtypeOf))
      buffers.tiles.set(module, tiles);
    for (const linear of resident) {
      for (const { weight, stride, firstRow, rows } of buffers.tiles.get(linear.module) ?? []) {
        await services.rows.write(linear, firstRow, rows, { weight, stride, at: 0 });
      }
    }
    const bytes = streamBytes(streamed, dtypeOf, tileBytes);
    if (bytes > 0) buffers.stream = await gpu.memory.allocate({ label: "streamed weights", bytes });
    return onloaded;
  } catch (error) {
    onloaded[Symbol.dispose]();
    throw error;
  }
}

/** What a layer's weights lie in. */
interface OnloadedBuffers {
  readonly vectors: Map<string, LedgerBuffer>;
  readonly tiles: Map<string, readonly RowTile[]>;
  stream: LedgerBuffer | null;
}

function weightsIn(
  buffers: OnloadedBuffers,
  services: WeightServices,
  model: StoredModel,
  { linears, tileBytes }: { readonly linears: readonly Linear[]; readonly tileBytes: number },
): StoredWeights {
  const known = new Map(linears.map((linear) => [linear.module, linear]));
  const find = (module: string) => {
    const linear = known.get(module);
    invariant(linear, `${module} is onloaded`);
    return linear;
  };
  const vector = async (name: string) => await vectorIn(buffers, services, model, name);
  return {
    async *rowTiles(module) {
      const own = buffers.tiles.get(module);
      if (own) return yield* own;
      invariant(buffers.stream, `${module} has a tile to come through`);
      yield* streamTiles(services, model, find(module), { weight: buffers.stream, tileBytes });
    },
    vector,
    input: async (module, x) => await seenBy(services, model, find(module), x, vector),
    [Symbol.dispose]() {
      for (const buffer of buffers.vectors.values()) buffer[Symbol.dispose]();
      services.rooms.giveBack([...buffers.tiles.values()].flat().map(({ weight }) => weight));
      buffers.stream?.[Symbol.dispose]();
    },
  };
}

/** A vector in float32, read when it is first asked for. */
async function vectorIn(
  { vectors }: OnloadedBuffers,
  { gpu, uploads }: WeightServices,
  model: StoredModel,
  name: string,
): Promise<LedgerBuffer> {
  const before = vectors.get(name);
  if (before) return before;
  const values = await readFloats(model, name);
  const buffer = await gpu.memory.allocate({ label: name, bytes: values.byteLength });
  vectors.set(name, buffer);
  await uploads.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), buffer);
  return buffer;
}

export function bindingLimit({ device: { limits } }: Pick<Gpu, "device">): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

/** Room for whole Linears. */
async function roomFor(
  { gpu, rooms: shared }: WeightServices,
  linears: readonly Linear[],
  dtypeOf: (tensor: string) => FloatDtype,
): Promise<Map<string, RowTile[]>> {
  const tiles = linears.flatMap((linear) => {
    const dtype = dtypeOf(linear.source.tensor);
    const { stride, rowBytes, tileRows } = tileShape(linear, dtype, bindingLimit(gpu));
    return Array.from({ length: Math.ceil(linear.rows / tileRows) }, (_, index) => {
      const firstRow = index * tileRows;
      const rows = Math.min(tileRows, linear.rows - firstRow);
      return { module: linear.module, bytes: rows * rowBytes, tile: { dtype, stride, firstRow, rows } };
    });
  });
  const rooms = await shared.take(
    tiles.map(({ module: label, bytes, tile }) => ({ label, bytes, layout: `${tile.dtype} ${tile.stride}` })),
  );
  const byModule = new Map<string, RowTile[]>();
  for (const [index, { module, tile }] of tiles.entries()) {
    const weight = rooms[index];
    invariant(weight, "each tile has room");
    byModule.set(module, [...(byModule.get(module) ?? []), { weight, ...tile }]);
  }
  return byModule;
}

async function* streamTiles(
  { rows: stored }: WeightServices,
  model: StoredModel,
  linear: Linear,
  { weight, tileBytes }: { readonly weight: LedgerBuffer; readonly tileBytes: number },
): AsyncGenerator<RowTile> {
  const dtype = rowsDtype(model, linear);
  const { stride, tileRows } = tileShape(linear, dtype, tileBytes);
  for (let firstRow = 0; firstRow < linear.rows; firstRow += tileRows) {
    const rows = Math.min(tileRows, linear.rows - firstRow);
    await stored.write(linear, firstRow, rows, { weight, stride, at: 0 });
    yield { weight, dtype, stride, firstRow, rows };
  }
}

/** What a Linear sees of x. */
async function seenBy(
  { gpu, rounded }: WeightServices,
  model: StoredModel,
  linear: Linear,
  x: Activations,
  vector: LayerWeights["vector"],
): Promise<Activations> {
  const quantization = inputQuantization(model, linear);
  if (!quantization || !isSimulated(quantization.args)) return x;
  invariant(rounded, "there is room for rounded inputs");
  const { args, scale } = quantization;
  return await roundInput(gpu, { args, scale: scale === null ? null : await vector(scale) }, x, rounded);
}
