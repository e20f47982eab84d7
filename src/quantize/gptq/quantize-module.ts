// GPTQ of one Linear, tile after tile: rows do not depend on each other, so the largest module fits any budget. The codes
// of a tile may be read back while the next one is computed.

import { allEnded } from "../../all-ended.ts";
import { type Lifetime, openTogether } from "../../disposal.ts";
import { MalformedModelError } from "../../errors.ts";
import { codesTensor } from "../../formats/weights/dequantize.ts";
import { type QuantizationArgs, usesImportance } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { beginJointly } from "../../joint-work.ts";
import { waitLater } from "../../wait-later.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { SquareMatrix } from "../../gpu/square-matrix.ts";
import { Pool } from "../../gpu/staging/pool.ts";
import type { ReadbackRing, ReadPart } from "../../gpu/staging/readback-ring.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { importanceOf } from "../observe/importance.ts";
import type { TileContext } from "../observe/observe-tile.ts";
import { powerTable, powerTableFor } from "../observe/power-table.ts";
import { readStatistics, type TileStatistics } from "../observe/tile-statistics.ts";
import { walkTable } from "../refine/refine-tile.ts";
import { tileRowMultiple } from "../rtn/tile-buffers.ts";
import type { ModuleReport } from "../../api/compressor-api.ts";
import type { ModuleWeights } from "../quantizer.ts";
import type { FactoredHessian } from "./factor-hessian.ts";
import { type ColumnTables, columnTables } from "./column-tables.ts";
import { driftOf, type GptqTask, refinementOf } from "./gptq-task.ts";
import {
  gptqBufferBytes,
  type GptqBuffers,
  RESULT_BUFFER_NAMES,
  type ResultBuffers,
  WORK_BUFFER_NAMES,
  type WorkBuffers,
} from "./gptq-buffers.ts";
import { quantizeTileGptq } from "./quantize-tile.ts";

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
  const multiple = tileRowMultiple(task);
  let rows = Math.ceil(task.rows / multiple) * multiple;
  while (rows > multiple) {
    const sizes = Object.values(gptqBufferBytes(task, Math.min(rows, task.rows)));
    const total = sizes.reduce((sum, bytes) => sum + bufferBytes(bytes), 0);
    if (total <= tileBytes && Math.max(...sizes) <= maxBufferBytes) break;
    rows = Math.floor(rows / 2 / multiple) * multiple || multiple;
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
  const allocate = async <Name extends keyof GptqBuffers>(names: readonly Name[], parts: Lifetime) => {
    const sizes = sharedSizes(tasks, names);
    const requests = sizes.map(([name, bytes]) => ({ label: `GPTQ ${name}`, bytes }));
    const made: readonly LedgerBuffer[] = parts.useEach(await gpu.memory.allocateAll(requests));
    return Object.fromEntries(sizes.map(([name], index) => [name, made[index]])) as Record<
      Name,
      LedgerBuffer
    >;
  };
  return await openTogether(async (parts) => {
    // All at once: asked for one by one, each would be waited for.
    const [work, ...sets] = await allEnded([
      allocate(WORK_BUFFER_NAMES, parts),
      ...Array.from({ length: resultSets }, async () => await allocate(RESULT_BUFFER_NAMES, parts)),
    ]);
    return { work, results: new Pool(sets) };
  });
}

/** What all tiles of a module are quantized with; `observeModules` finds it. */
export type ModuleContext = Pick<TileContext, "statistics" | "steps">;

/** A module that is observed. */
export interface QuantizedTask extends TiledTask {
  readonly context: ModuleContext;
  /** (X̃ − X)ᵀX of its input, by the factor of the Hessian; absent where its modifier has no use for it. */
  readonly drift?: SquareMatrix | null;
}

/**
 * Quantizes a Linear with the factor of its input's Hessian. Resolves when all of its kernels are recorded; `outcome` when
 * its codes are read back and written. Where a tile fails no other begins, and none is read any more when that is told.
 * @throws MalformedModelError, as rejection of `outcome`, if a weight is NaN or infinite.
 */
export async function quantizeModule(
  quantized: QuantizedTask,
  factored: FactoredHessian,
  workspace: GptqWorkspace,
  services: ModuleServices,
): Promise<{ readonly outcome: Promise<ModuleOutcome> }> {
  const { task, context } = quantized;
  const { groupOf } = await uploadTables(task, factored, workspace.work, services.uploads);
  const tiles = await beginTiles(quantized, factored, workspace, services);
  if (task.weights.actorder === "group" && task.weights.strategy === "group") {
    services.write(`${task.module}.weight_g_idx`, 0, new Uint8Array(groupOf.buffer));
  }
  const { globalScale } = context.statistics;
  if (globalScale !== null) {
    const bytes = new Uint8Array(Float32Array.of(globalScale).buffer);
    services.write(`${task.module}.weight_global_scale`, 0, bytes);
  }
  return { outcome: waitLater(outcomeOf(task, factored, tiles)) };
}

/** Records the kernels of all tiles; each of what it gives is a tile that is being read back. */
async function beginTiles(
  { task, tileRows, context, drift = null }: QuantizedTask,
  { factor }: FactoredHessian,
  { work, results }: GptqWorkspace,
  services: ModuleServices,
): Promise<Promise<TileLosses>[]> {
  const { gpu, weights } = services;
  const moved = drift && { matrix: drift, share: driftOf(task) };
  return await beginJointly(async (joint) => {
    const tiles: Promise<TileLosses>[] = [];
    for (let firstRow = 0; firstRow < task.rows; firstRow += tileRows) {
      await services.checkpoint();
      const rows = Math.min(tileRows, task.rows - firstRow);
      const own = await results.acquire();
      joint.check();
      await weights.load(firstRow, rows, work.source);
      const tile = { ...context, powers: powersOf(task, work), rows, drift: moved };
      await quantizeTileGptq(gpu, task, factor, tile, { ...work, ...own });
      const read = readTile(task, firstRow, rows, own, services).finally(() => results.release(own));
      // A failure is told by the outcome.
      tiles.push(joint.watch(read));
      await weights.store(firstRow, rows, work.dequantized);
    }
    return tiles;
  });
}

/** Uploads what all tiles of a module look up: order and groups of columns, their importance, powers, a refinement's walk. */
export async function uploadTables(
  task: GptqTask,
  factored: FactoredHessian,
  work: WorkBuffers,
  uploads: UploadRing,
): Promise<ColumnTables> {
  const { weights, dtype } = task;
  const tables = columnTables(factored, weights);
  await uploads.write(new Uint8Array(tables.order.buffer), work.order);
  await uploads.write(new Uint8Array(tables.groupOf.buffer), work.groupOf);
  if (usesImportance(weights)) {
    const importance = importanceOf(observedColumns(factored, weights));
    await uploads.write(new Uint8Array(importance.buffer), work.importance);
  }
  if (refinementOf(task)) {
    await uploads.write(new Uint8Array(walkTable(factored.order, tables.groupOf).buffer), work.walk);
  }
  const powers = powerTableFor(weights, dtype);
  if (powers) await uploads.write(new Uint8Array(powerTable(powers).buffer), work.powers);
  return tables;
}

/** Σx² of the columns as the observer sees them: with actorder "group" in the order of quantization. */
function observedColumns({ diagonal, order }: FactoredHessian, args: QuantizationArgs): Float32Array {
  if (args.actorder !== "group") return diagonal;
  return Float32Array.from(order.toReversed(), (column) => diagonal[column] ?? 0);
}

/** The module's table of powers among the buffers, or null if its observer looks up none. */
export function powersOf({ weights, dtype }: GptqTask, { powers }: WorkBuffers): LedgerBuffer | null {
  return powerTableFor(weights, dtype) && powers;
}

async function outcomeOf(
  { module }: GptqTask,
  { dampeningFrac, attempts, dead }: FactoredHessian,
  tiles: readonly Promise<TileLosses>[],
): Promise<ModuleOutcome> {
  let loss = 0;
  let rtnLoss = 0;
  for (const tile of await allEnded(tiles)) {
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
  const codes = codesTensor({ args: task.weights, format: task.format });
  const once = task.weights.strategy === "tensor";
  const stored = [
    [codes, "packed", before.packed],
    ["weight_scale", "storedScales", once ? 0 : before.storedScales],
    ["weight_zero_point", "storedZeroPoints", once ? 0 : before.storedZeroPoints],
  ] as const;
  const found = (from: LedgerBuffer, bytes: number) => {
    const into = new Uint8Array(bytes);
    const consume: ReadPart["consume"] = (view, position) => into.set(view, position);
    return { into, part: { from, offset: 0, bytes, consume } };
  };
  const statistics = found(results.statistics, sizes.statistics);
  const losses = found(results.losses, rows * 4);
  const rtnLosses = found(results.rtnLosses, rows * 4);
  const tensors = stored
    .filter(([, name]) => sizes[name] > 0)
    .map(([suffix, name, at]): ReadPart => ({
      from: results[name],
      offset: 0,
      bytes: sizes[name],
      consume: (view, position) => services.write(`${task.module}.${suffix}`, at + position, view),
    }));
  await readbacks.readParts([statistics.part, losses.part, rtnLosses.part, ...tensors]);
  checkFinite(task, firstRow, readStatistics(statistics.into));
  return { loss: halfSum(losses.into), rtnLoss: halfSum(rtnLosses.into) };
}

function halfSum(bytes: Uint8Array<ArrayBuffer>): number {
  return new Float32Array(bytes.buffer).reduce((sum, value) => sum + value / 2, 0);
}

/** @throws MalformedModelError if a weight of the tile is NaN or infinite, saying where. */
export function checkFinite(task: GptqTask, firstRow: number, statistics: TileStatistics): void {
  const { nonfinite, firstNonfinite } = statistics;
  if (nonfinite === 0) return;
  const row = firstRow + Math.floor(firstNonfinite / task.columns);
  throw new MalformedModelError(
    `${task.module}.weight has ${nonfinite} NaN or infinite weights, the first in row ${row}. They cannot be quantized: the file is damaged (delete the stored source and try again), or the model itself is broken (add ${task.module} to ignore).`,
  );
}
