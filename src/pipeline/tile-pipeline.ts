// Data-free quantization as a stream of tiles: source bytes, upload, kernels, readback, OPFS. A fixed number of slots is
// under way at once, so that network, GPU and disk overlap while memory stays what the plan said.

import pLimit, { type LimitFunction } from "p-limit";
import { MalformedModelError } from "../errors.ts";
import { DTYPE_BITS } from "../formats/dtype.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Pool } from "../gpu/pool.ts";
import { ReadbackRing, UploadRing } from "../gpu/staging.ts";
import type { QuantizeTask } from "../plan/plan-steps.ts";
import { quantizeTile, TILE_BUFFER_NAMES, type TileBuffers } from "../quantize/rtn/quantize-tile.ts";
import { type Tiling, tileRows } from "./plan-tiling.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import type { FileRange } from "./api.ts";

/** What a tile needs of the world around it. */
export interface TileTraffic {
  /** Bytes of the source; the array is ours. */
  read(range: FileRange): Promise<Uint8Array<ArrayBuffer>>;
  /** Puts a part of an output tensor into the result. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Waits while the job is paused; throws an AbortError when it is cancelled. */
  checkpoint(): Promise<void>;
  /** Source bytes that are done with. */
  finished(bytes: number): void;
}

export class TilePipeline implements Disposable {
  readonly #gpu: Gpu;
  readonly #tiling: Tiling;
  readonly #uploads: UploadRing;
  readonly #readbacks: ReadbackRing;
  readonly #slots: readonly TileBuffers[];
  readonly #pool: Pool<TileBuffers>;
  readonly #limit: LimitFunction;

  private constructor(
    gpu: Gpu,
    tiling: Tiling,
    rings: { uploads: UploadRing; readbacks: ReadbackRing },
    slots: readonly TileBuffers[],
  ) {
    this.#gpu = gpu;
    this.#tiling = tiling;
    this.#uploads = rings.uploads;
    this.#readbacks = rings.readbacks;
    this.#slots = slots;
    this.#pool = new Pool(slots);
    this.#limit = pLimit(tiling.slots);
  }

  static async create(gpu: Gpu, tiling: Tiling): Promise<TilePipeline> {
    const uploads = await UploadRing.create(gpu, tiling.upload);
    const readbacks = await ReadbackRing.create(gpu, tiling.readback);
    const slots: TileBuffers[] = [];
    for (let slot = 0; slot < tiling.slots; slot++) slots.push(await makeSlot(gpu, tiling, slot));
    return new TilePipeline(gpu, tiling, { uploads, readbacks }, slots);
  }

  /** Quantizes one weight; resolves when all of its bytes were handed to `traffic.write`. */
  async run(task: QuantizeTask, traffic: TileTraffic): Promise<void> {
    const rows = tileRows(task, this.#tiling.tileBytes);
    const tiles: Promise<void>[] = [];
    for (let first = 0; first < task.rows; first += rows) {
      const count = Math.min(rows, task.rows - first);
      tiles.push(this.#limit(async () => await this.#runTile(task, first, count, traffic)));
    }
    await Promise.all(tiles);
  }

  /** Forgets tiles that have not begun: after a failure or a cancel. */
  clear(): void {
    this.#limit.clearQueue();
  }

  [Symbol.dispose](): void {
    this.#uploads[Symbol.dispose]();
    this.#readbacks[Symbol.dispose]();
    for (const slot of this.#slots) for (const name of TILE_BUFFER_NAMES) slot[name][Symbol.dispose]();
  }

  async #runTile(task: QuantizeTask, firstRow: number, rows: number, traffic: TileTraffic): Promise<void> {
    await traffic.checkpoint();
    const rowBytes = (task.columns * DTYPE_BITS[task.dtype]) / 8;
    const start = task.tensor.start + firstRow * rowBytes;
    const bytes = await traffic.read({ path: task.tensor.file, start, end: start + rows * rowBytes });
    const slot = await this.#pool.acquire();
    try {
      await this.#uploads.write(bytes, slot.source);
      const parts = await quantizeTile(this.#gpu, task, firstRow, rows, slot);
      const flags = await this.#readbacks.readBytes(slot.nonfinite, 0, 8);
      checkFinite(task, firstRow, new Uint32Array(flags.buffer));
      for (const part of parts) {
        await this.#readbacks.read(part.buffer, 0, part.bytes, (view, position) => {
          traffic.write(part.tensor, part.offset + position, view);
        });
      }
    } finally {
      this.#pool.release(slot);
    }
    traffic.finished(bytes.byteLength);
  }
}

async function makeSlot(gpu: Gpu, tiling: Tiling, slot: number): Promise<TileBuffers> {
  const requests = TILE_BUFFER_NAMES.map((name) => ({
    label: `tile ${slot} ${name}`,
    bytes: tiling.buffers[name],
  }));
  const buffers: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  return Object.fromEntries(
    TILE_BUFFER_NAMES.map((name, index) => [name, buffers[index]]),
  ) as unknown as TileBuffers;
}

function checkFinite(task: QuantizeTask, firstRow: number, [count = 0, first = 0]: Uint32Array): void {
  if (count === 0) return;
  const index = 0xffffffff - first;
  const row = firstRow + Math.floor(index / task.columns);
  throw new MalformedModelError(
    `${task.tensor.name} has ${count} NaN or infinite weights in its rows from ${firstRow}, the first at row ${row}, column ${index % task.columns}. They cannot be quantized: the file ${task.tensor.file} is damaged (delete the stored source and try again), or the model itself is broken (add ${task.module} to ignore).`,
  );
}
