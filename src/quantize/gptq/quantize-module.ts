// GPTQ of one Linear, tile after tile: rows do not depend on each other, so the largest module fits any budget.

import { invariant, MalformedModelError } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import { ERROR_STRIDE, WALK_BLOCK } from "./gptq-kernels.ts";
import type { FactoredHessian } from "./factor-hessian.ts";
import {
  columnTables,
  GPTQ_BUFFER_NAMES,
  gptqBufferBytes,
  type GptqBuffers,
  type GptqTask,
  quantizeTileGptq,
} from "./quantize-tile.ts";

/** Whole words of packed zero points, and of one-byte codes. */
const ROW_MULTIPLE = 32;

export interface ModuleServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  /** The rows' bytes as they lie in the source. */
  weightRows(firstRow: number, rows: number): Uint8Array<ArrayBuffer>;
  /** Where the weights that the codes mean are wanted, in the source's dtype: a view to write to. */
  meaningRows(firstRow: number, rows: number): Uint8Array<ArrayBuffer>;
  /** Puts a part of an output tensor into the result. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
}

export interface ModuleReport {
  readonly module: string;
  /** ½ tr(ΔW H ΔWᵀ) of the chosen codes under the damped Hessian: what the anchor prints as error. */
  readonly loss: number;
  /** The same for rounding to nearest with the same scales. */
  readonly rtnLoss: number;
  readonly dampeningFrac: number;
  readonly attempts: number;
  readonly deadColumns: number;
}

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

/**
 * Quantizes a Linear with the factor of its input's Hessian.
 * @throws MalformedModelError if a weight is NaN or infinite.
 */
export async function quantizeModule(
  task: GptqTask,
  factored: FactoredHessian,
  tileRows: number,
  services: ModuleServices,
): Promise<ModuleReport> {
  using buffers = await allocateBuffers(services.gpu, task, tileRows);
  const tables = columnTables(factored, task.weights);
  await services.uploads.write(new Uint8Array(tables.order.buffer), buffers.order);
  await services.uploads.write(new Uint8Array(tables.groupOf.buffer), buffers.groupOf);
  let loss = 0;
  let rtnLoss = 0;
  for (let firstRow = 0; firstRow < task.rows; firstRow += tileRows) {
    await services.checkpoint();
    const rows = Math.min(tileRows, task.rows - firstRow);
    await services.uploads.write(services.weightRows(firstRow, rows), buffers.source);
    await quantizeTileGptq(services.gpu, task, factored.factor, rows, buffers);
    const losses = await readTile(task, firstRow, rows, buffers, services);
    loss += losses.loss;
    rtnLoss += losses.rtnLoss;
  }
  if (task.weights.actorder === "group" && task.weights.strategy === "group") {
    services.write(`${task.module}.weight_g_idx`, 0, new Uint8Array(tables.groupOf.buffer));
  }
  return {
    module: task.module,
    loss,
    rtnLoss,
    dampeningFrac: factored.dampeningFrac,
    attempts: factored.attempts,
    deadColumns: factored.dead.reduce((sum, flag) => sum + flag, 0),
  };
}

async function allocateBuffers(gpu: Gpu, task: GptqTask, rows: number): Promise<GptqBuffers & Disposable> {
  const sizes = gptqBufferBytes(task, rows);
  const requests = GPTQ_BUFFER_NAMES.map((name) => ({ label: `${task.module} ${name}`, bytes: sizes[name] }));
  const made: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  const named = Object.fromEntries(GPTQ_BUFFER_NAMES.map((name, index) => [name, made[index]]));
  return {
    ...(named as unknown as GptqBuffers),
    [Symbol.dispose]() {
      for (const buffer of made) buffer[Symbol.dispose]();
    },
  };
}

async function readTile(
  task: GptqTask,
  firstRow: number,
  rows: number,
  buffers: GptqBuffers,
  services: ModuleServices,
): Promise<{ loss: number; rtnLoss: number }> {
  const { readbacks } = services;
  const sizes = gptqBufferBytes(task, rows);
  const before = gptqBufferBytes(task, firstRow);
  checkFinite(task, firstRow, await readbacks.readBytes(buffers.nonfinite, 0, 8));
  const stored = [
    [task.format === "pack-quantized" ? "weight_packed" : "weight", "packed"],
    ["weight_scale", "storedScales"],
    ...(task.weights.symmetric ? [] : [["weight_zero_point", "storedZeroPoints"] as const]),
  ] as const;
  for (const [suffix, name] of stored) {
    await readbacks.read(buffers[name], 0, sizes[name], (view, position) => {
      services.write(`${task.module}.${suffix}`, before[name] + position, view);
    });
  }
  const meaning = services.meaningRows(firstRow, rows);
  await readbacks.read(buffers.dequantized, 0, meaning.byteLength, (view, position) => {
    meaning.set(view, position);
  });
  const errors = new Float32Array((await readbacks.readBytes(buffers.errors, 0, sizes.errors)).buffer);
  const sums = new Float32Array((await readbacks.readBytes(buffers.sums, 0, rows * 4)).buffer);
  let loss = 0;
  for (let row = 0; row < rows; row++) loss += (errors[row * ERROR_STRIDE + WALK_BLOCK] ?? 0) / 2;
  return { loss, rtnLoss: sums.reduce((sum, value) => sum + value / 2, 0) };
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
