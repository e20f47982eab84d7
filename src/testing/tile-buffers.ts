// A tile of one weight in tests: buffers, upload and what the kernels left behind.

import { narrowFromFloat32 } from "../formats/dtype.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import { mseSettings } from "../quantize/observe/mse-settings.ts";
import { powerTable } from "../quantize/observe/power-table.ts";
import { quantizeTile, type TileContext } from "../quantize/rtn/quantize-tile.ts";
import {
  type RtnTask,
  TILE_BUFFER_NAMES,
  tileBufferBytes,
  type TileBuffers,
} from "../quantize/rtn/tile-buffers.ts";
import type { TestGpu } from "./open-test-gpu.ts";

export async function makeTileBuffers(test: TestGpu, task: RtnTask): Promise<TileBuffers & Disposable> {
  const sizes = tileBufferBytes(task, task.rows);
  const made = await test.gpu.memory.allocateAll(
    TILE_BUFFER_NAMES.map((name) => ({ label: name, bytes: sizes[name] })),
  );
  const named = Object.fromEntries(TILE_BUFFER_NAMES.map((name, index) => [name, made[index]]));
  return {
    ...(named as Record<keyof TileBuffers, LedgerBuffer>),
    [Symbol.dispose]() {
      for (const buffer of made) buffer[Symbol.dispose]();
    },
  };
}

/** Uploads the weights, rounded to the task's dtype. */
export async function uploadTile(
  test: TestGpu,
  task: RtnTask,
  values: Float32Array,
  buffers: TileBuffers,
): Promise<void> {
  using staged = await test.upload("weight bytes", narrowFromFloat32(task.dtype, values));
  await test.gpu.queue.copy({ of: staged, offset: 0 }, { of: buffers.source, offset: 0 }, staged.bytes);
  await test.gpu.queue.idle();
}

/** The table of powers that the task's observer needs, or null. */
export async function uploadPowers(test: TestGpu, task: RtnTask): Promise<LedgerBuffer | null> {
  const norm = mseSettings(task.weights)?.norm;
  if (norm === undefined || task.dtype === "F32") return null;
  return await test.upload("powers", powerTable(task.dtype, norm));
}

/** Quantizes the weight as one tile; the parts of the output by tensor name, and the words of its statistics. */
export async function runTile(
  test: TestGpu,
  task: RtnTask,
  values: Float32Array,
  context: TileContext,
): Promise<{ parts: Map<string, Uint8Array>; statistics: Uint32Array }> {
  using buffers = await makeTileBuffers(test, task);
  await uploadTile(test, task, values, buffers);
  const wanted = await quantizeTile(test.gpu, task, { firstRow: 0, rows: task.rows }, buffers, context);
  const parts = new Map<string, Uint8Array>();
  for (const part of wanted) parts.set(part.tensor, await test.readBytes(part.buffer, part.bytes));
  return { parts, statistics: await test.readWords(buffers.statistics) };
}
