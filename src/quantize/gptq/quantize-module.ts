// GPTQ of one Linear, tile after tile: rows do not depend on each other, so the largest module fits any budget. The codes
// of a tile may be read back while the next one is computed.

import { createLifetime } from "../../disposal.ts";
import { invariant, MalformedModelError } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { Pool } from "../../gpu/pool.ts";
import type { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import type { ModuleReport, ModuleWeights } from "../quantizer.ts";
import type { FactoredHessian } from "./factor-hessian.ts";
import {
  columnTables,
  gptqBufferBytes,
  type GptqBuffers,
  type GptqTask,
  quantizeTileGptq,
  RESULT_BUFFER_NAMES,
  type ResultBuffers,
  WORK_BUFFER_NAMES,
  type WorkBuffers,
} from "./quantize-tile.ts";

/** Whole words of packed zero points, and of one-byte codes. */
const ROW_MULTIPLE = 32;

export interface ModuleServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  readonly weights: ModuleWeights;
  /** Puts a part of an output tensor into the result. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
}

/** What the codes of a module came to. */
export type ModuleOutcome = Omit<ModuleReport, "tokens" | "rounded" | "seconds">;

/** Rows that a tile of at most `tileBytes` GPU bytes takes, with no buffer over `maxBufferBytes`. */
export function gptqTileRows(task: GptqTask, tileBytes: number, maxBufferBytes: number): number {
  let rows = Math.ceil(task.rows / ROW_MULTIPLE) * ROW_MULTIPLE;
  while (rows > ROW_MULTIPLE) {
    const sizes = Object.values(gptqBufferBytes(task, Math.min(rows, task.rows)));
    const total = sizes.reduce((sum, bytes) => sum + bufferBytes(bytes), 0);
    if (total <= tileBytes && Math.max(...sizes) <= maxBufferBytes) break;
    rows = Math.floor(rows / 2 / ROW_MULTIPLE) * ROW_MULTIPLE || ROW_MULTIPLE;
  }
  return Math.min(rows, task.rows);
}

/** A task with the rows of its tiles. */
export interface TiledTask {
  readonly task: GptqTask;
  readonly tileRows: number;
}

/** Buffers for modules that are quantized one after the other. */
export interface GptqWorkspace extends Disposable {
  readonly work: WorkBuffers;
  /** With two sets, one tile is read back while the next one is computed. */
  readonly results: Pool<ResultBuffers>;
}

/** Bytes that each named buffer needs so that it serves all of the tasks. */
function sharedSizes<Name extends keyof GptqBuffers>(tasks: readonly TiledTask[], names: readonly Name[]) {
  const sizes = tasks.map(({ task, tileRows }) => gptqBufferBytes(task, tileRows));
  return names.map((name) => [name, Math.max(0, ...sizes.map((each) => each[name]))] as const);
}

/** GPU bytes of a workspace; the planner's figure. */
export function gptqWorkspaceBytes(tasks: readonly TiledTask[], resultSets: number): number {
  const total = (sizes: readonly (readonly [string, number])[]) =>
    sizes.reduce((sum, [, bytes]) => sum + bufferBytes(bytes), 0);
  return (
    total(sharedSizes(tasks, WORK_BUFFER_NAMES)) + resultSets * total(sharedSizes(tasks, RESULT_BUFFER_NAMES))
  );
}

export async function allocateGptqWorkspace(
  gpu: Gpu,
  tasks: readonly TiledTask[],
  resultSets: number,
): Promise<GptqWorkspace> {
  const lifetime = createLifetime();
  const allocate = async <Name extends keyof GptqBuffers>(names: readonly Name[]) => {
    const sizes = sharedSizes(tasks, names);
    const requests = sizes.map(([name, bytes]) => ({ label: `GPTQ ${name}`, bytes }));
    const made: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
    for (const buffer of made) lifetime.use(buffer);
    return Object.fromEntries(sizes.map(([name], index) => [name, made[index]])) as Record<
      Name,
      LedgerBuffer
    >;
  };
  const work = await allocate(WORK_BUFFER_NAMES);
  const sets: ResultBuffers[] = [];
  while (sets.length < resultSets) sets.push(await allocate(RESULT_BUFFER_NAMES));
  return { work, results: new Pool(sets), [Symbol.dispose]: () => lifetime[Symbol.dispose]() };
}

/**
 * Quantizes a Linear with the factor of its input's Hessian. Resolves when all of its kernels are recorded; `outcome` when
 * its codes are read back and written.
 * @throws MalformedModelError, as rejection of `outcome`, if a weight is NaN or infinite.
 */
export async function quantizeModule(
  { task, tileRows }: TiledTask,
  factored: FactoredHessian,
  { work, results }: GptqWorkspace,
  services: ModuleServices,
): Promise<{ readonly outcome: Promise<ModuleOutcome> }> {
  const { gpu, uploads, weights } = services;
  const tables = columnTables(factored, task.weights);
  await uploads.write(new Uint8Array(tables.order.buffer), work.order);
  await uploads.write(new Uint8Array(tables.groupOf.buffer), work.groupOf);
  const tiles: Promise<TileLosses>[] = [];
  for (let firstRow = 0; firstRow < task.rows; firstRow += tileRows) {
    await services.checkpoint();
    const rows = Math.min(tileRows, task.rows - firstRow);
    const own = await results.acquire();
    await weights.load(firstRow, rows, work.source);
    await quantizeTileGptq(gpu, task, factored.factor, rows, { ...work, ...own });
    const read = readTile(task, firstRow, rows, own, services).finally(() => results.release(own));
    // A failure is told by the outcome; until someone waits for that it must not count as unhandled.
    read.catch(() => undefined);
    tiles.push(read);
    await weights.store(firstRow, rows, work.dequantized);
  }
  if (task.weights.actorder === "group" && task.weights.strategy === "group") {
    services.write(`${task.module}.weight_g_idx`, 0, new Uint8Array(tables.groupOf.buffer));
  }
  return { outcome: outcomeOf(task, factored, tiles) };
}

async function outcomeOf(
  { module }: GptqTask,
  { dampeningFrac, attempts, dead }: FactoredHessian,
  tiles: readonly Promise<TileLosses>[],
): Promise<ModuleOutcome> {
  let loss = 0;
  let rtnLoss = 0;
  for (const tile of await Promise.all(tiles)) {
    loss += tile.loss;
    rtnLoss += tile.rtnLoss;
  }
  const deadColumns = dead.reduce((sum, flag) => sum + flag, 0);
  return { module, loss, rtnLoss, dampeningFrac, attempts, deadColumns };
}

interface TileLosses {
  readonly loss: number;
  readonly rtnLoss: number;
}

/** Reads a tile's results back and writes them. */
async function readTile(
  task: GptqTask,
  firstRow: number,
  rows: number,
  results: ResultBuffers,
  services: ModuleServices,
): Promise<TileLosses> {
  const { readbacks } = services;
  const sizes = gptqBufferBytes(task, rows);
  const before = gptqBufferBytes(task, firstRow);
  const stored = [
    [task.format === "pack-quantized" ? "weight_packed" : "weight", "packed"],
    ["weight_scale", "storedScales"],
    ...(task.weights.symmetric ? [] : [["weight_zero_point", "storedZeroPoints"] as const]),
  ] as const;
  const [nonfinite, losses, rtnLosses] = await Promise.all([
    readbacks.readBytes(results.nonfinite, 0, 8),
    readbacks.readBytes(results.losses, 0, rows * 4),
    readbacks.readBytes(results.rtnLosses, 0, rows * 4),
    ...stored.map(async ([suffix, name]) => {
      await readbacks.read(results[name], 0, sizes[name], (view, position) => {
        services.write(`${task.module}.${suffix}`, before[name] + position, view);
      });
    }),
  ]);
  checkFinite(task, firstRow, nonfinite);
  return { loss: halfSum(losses), rtnLoss: halfSum(rtnLosses) };
}

function halfSum(bytes: Uint8Array<ArrayBuffer>): number {
  return new Float32Array(bytes.buffer).reduce((sum, value) => sum + value / 2, 0);
}

function checkFinite(task: GptqTask, firstRow: number, flags: Uint8Array<ArrayBuffer>): void {
  const [count, first] = new Uint32Array(flags.buffer);
  invariant(count !== undefined && first !== undefined, "two counters");
  if (count === 0) return;
  const row = firstRow + Math.floor((0xffffffff - first) / task.columns);
  throw new MalformedModelError(
    `${task.module}.weight has ${count} NaN or infinite weights, the first in row ${row}. They cannot be quantized: the file is damaged (delete the stored source and try again), or the model itself is broken (add ${task.module} to ignore).`,
  );
}
