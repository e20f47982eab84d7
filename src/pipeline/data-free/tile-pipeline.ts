// Data-free quantization as a stream of tiles: source bytes, upload, kernels, readback, OPFS. A fixed number of slots is
// under way at once, so that network, GPU and disk overlap while memory stays what the plan said.

import pLimit, { type LimitFunction } from "p-limit";
import { allEnded } from "../../all-ended.ts";
import { type Lifetime, madeOf } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import { usesImportance } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { Pool } from "../../gpu/staging/pool.ts";
import { ReadbackRing, type ReadPart } from "../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { importanceOf } from "../../quantize/observe/importance.ts";
import type { TileContext } from "../../quantize/observe/observe-tile.ts";
import {
  POWER_TABLE_BYTES,
  powerTable,
  powerTableFor,
  powerTableKey,
} from "../../quantize/observe/power-table.ts";
import { readStatistics, type TileStatistics } from "../../quantize/observe/tile-statistics.ts";
import { quantizeTile, type TilePart, type TileRows } from "../../quantize/rtn/quantize-tile.ts";
import { TILE_BUFFER_NAMES, tileBufferBytes, type TileBuffers } from "../../quantize/rtn/tile-buffers.ts";
import { type Tiling, tileRows } from "../../quantize/rtn/plan-tiling.ts";
import { checkFinite } from "./check-finite.ts";
import type { TileTraffic } from "../job/traffic.ts";

/** Records kernels for a tile whose source is uploaded, and says which of its buffers are wanted back. */
export type RecordTile = (tile: TileRows, buffers: TileBuffers) => Promise<readonly TilePart[]>;

interface PipelineParts {
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  readonly slots: readonly TileBuffers[];
  /** Tables of powers by key. */
  readonly powers: ReadonlyMap<string, LedgerBuffer>;
}

export class TilePipeline implements Disposable {
  readonly gpu: Gpu;
  readonly #tiling: Tiling;
  readonly #uploads: UploadRing;
  readonly #readbacks: ReadbackRing;
  readonly #pool: Pool<TileBuffers>;
  readonly #limit: LimitFunction;
  readonly #powers: ReadonlyMap<string, LedgerBuffer>;
  readonly #parts: Disposable;

  private constructor(
    gpu: Gpu,
    tiling: Tiling,
    { uploads, readbacks, slots, powers }: PipelineParts,
    parts: Disposable,
  ) {
    this.gpu = gpu;
    this.#tiling = tiling;
    this.#uploads = uploads;
    this.#readbacks = readbacks;
    this.#pool = new Pool(slots);
    this.#powers = powers;
    this.#parts = parts;
    this.#limit = pLimit(tiling.slots);
  }

  static async create(gpu: Gpu, tiling: Tiling): Promise<TilePipeline> {
    return await madeOf(async (parts) => {
      const uploads = parts.use(await UploadRing.create(gpu, tiling.upload));
      const readbacks = parts.use(await ReadbackRing.create(gpu, tiling.readback));
      const slots = await makeSlots(gpu, tiling, parts);
      const powers = await uploadPowers({ gpu, uploads }, tiling, parts);
      return new TilePipeline(gpu, tiling, { uploads, readbacks, slots, powers }, parts);
    });
  }

  /**
   * Runs `record` for every tile of a weight, writes the parts that it names, and returns what the tiles counted. Where one fails no
   * other begins, those at work end between two of their stages, and none works with buffers when that is told.
   * @throws what failed first of the traffic's joint work
   */
  async forEachTile(task: QuantizeTask, traffic: TileTraffic, record: RecordTile): Promise<TileStatistics[]> {
    const rows = tileRows(task, this.#tiling.tileBytes);
    const tiles: Promise<TileStatistics>[] = [];
    for (let firstRow = 0; firstRow < task.rows; firstRow += rows) {
      const tile = { firstRow, rows: Math.min(rows, task.rows - firstRow) };
      const run = async () => await this.#runTile(task, tile, traffic, record);
      tiles.push(this.#limit(async () => await traffic.joint.part(run)));
    }
    return await allEnded(tiles);
  }

  /** Quantizes all tiles of a weight and writes them. */
  async encode(task: QuantizeTask, traffic: TileTraffic, context: TileContext): Promise<TileStatistics[]> {
    return await this.forEachTile(
      task,
      traffic,
      async (tile, buffers) => await quantizeTile(this.gpu, task, tile, buffers, context),
    );
  }

  /** The table of powers that a task's observer looks up, or null. */
  powersFor({ dtype, weights }: QuantizeTask): LedgerBuffer | null {
    const table = powerTableFor(weights, dtype);
    return (table && this.#powers.get(powerTableKey(table))) ?? null;
  }

  [Symbol.dispose](): void {
    this.#parts[Symbol.dispose]();
  }

  async #runTile(
    task: QuantizeTask,
    tile: TileRows,
    traffic: TileTraffic,
    record: RecordTile,
  ): Promise<TileStatistics> {
    await traffic.checkpoint();
    const rowBytes = (task.columns * DTYPE_BITS[task.dtype]) / 8;
    const start = task.tensor.start + tile.firstRow * rowBytes;
    const range = { path: task.tensor.file, start, end: start + tile.rows * rowBytes };
    const bytes = traffic.load ? null : await traffic.read(range);
    const slot = await this.#pool.acquire();
    try {
      traffic.joint.check();
      await traffic.load?.(task.module, tile.firstRow, tile.rows, slot.source);
      if (bytes) {
        await this.#uploads.write(bytes, slot.source);
        traffic.recycle(bytes);
      }
      if (usesImportance(task.weights)) {
        const squares = traffic.squares?.get(task.module);
        invariant(squares, `${task.module} has an importance for each column`);
        await this.#uploads.write(new Uint8Array(importanceOf(squares).buffer), slot.importance);
      }
      traffic.joint.check();
      const parts = await record(tile, slot);
      traffic.joint.check();
      const counted = tileBufferBytes(task, tile.rows).statistics;
      const words = new Uint8Array(counted);
      await this.#readbacks.readParts([
        {
          from: slot.statistics,
          offset: 0,
          bytes: counted,
          consume: (view, position) => words.set(view, position),
        },
        ...parts.map(({ buffer, bytes: length, tensor, offset }): ReadPart => {
          const consume: ReadPart["consume"] = (view, position) =>
            traffic.write(tensor, offset + position, view);
          return { from: buffer, offset: 0, bytes: length, consume };
        }),
      ]);
      const statistics = readStatistics(words);
      checkFinite(task, tile.firstRow, statistics);
      if (parts.length > 0) traffic.finished(range);
      return statistics;
    } finally {
      this.#pool.release(slot);
    }
  }
}

/** Buffers of all slots, asked for together. */
async function makeSlots(gpu: Gpu, tiling: Tiling, parts: Lifetime): Promise<TileBuffers[]> {
  const requests = Array.from({ length: tiling.slots }, (_, slot) =>
    TILE_BUFFER_NAMES.map((name) => ({ label: `tile ${slot} ${name}`, bytes: tiling.buffers[name] })),
  );
  const buffers = parts.useEach(await gpu.memory.allocateAll(requests.flat())).values();
  return requests.map(
    (): TileBuffers =>
      Object.fromEntries(
        TILE_BUFFER_NAMES.map((name) => [name, buffers.next().value]),
      ) as unknown as TileBuffers,
  );
}

async function uploadPowers(
  { gpu, uploads }: { readonly gpu: Gpu; readonly uploads: UploadRing },
  { powerTables }: Tiling,
  parts: Lifetime,
): Promise<Map<string, LedgerBuffer>> {
  const powers = new Map<string, LedgerBuffer>();
  for (const table of powerTables) {
    const request = { label: "table of powers", bytes: POWER_TABLE_BYTES };
    const buffer = parts.use(await gpu.memory.allocate(request));
    powers.set(powerTableKey(table), buffer);
    await uploads.write(new Uint8Array(powerTable(table).buffer), buffer);
  }
  return powers;
}
