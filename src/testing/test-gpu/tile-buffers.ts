// A tile of one weight in tests: buffers, upload and what the kernels left behind.

import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { TileContext } from "../../quantize/observe/observe-tile.ts";
import { powerTable, powerTableFor } from "../../quantize/observe/power-table.ts";
import { quantizeTile } from "../../quantize/rtn/quantize-tile.ts";
import {
  type RtnTask,
  TILE_BUFFER_NAMES,
  tileBufferBytes,
  type TileBuffers,
} from "../../quantize/rtn/tile-buffers.ts";
import type { TestGpu } from "./open-test-gpu.ts";

async function makeTileBuffers(test: TestGpu, task: RtnTask): Promise<TileBuffers & Disposable> {
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
async function uploadTile(
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
  const table = powerTableFor(task.weights, task.dtype);
  return table && (await test.upload("powers", powerTable(table)));
}

/**
 * Quantizes the weight as one tile, with an importance of each column if its observer wants one; the parts of the output by
 * tensor name, and the words of its statistics.
 */
export async function runTile(
  test: TestGpu,
  task: RtnTask,
  values: Float32Array,
  { importance, ...context }: TileContext & { readonly importance?: Float32Array<ArrayBuffer> },
): Promise<{ parts: Map<string, Uint8Array>; statistics: Uint32Array }> {
  using buffers = await makeTileBuffers(test, task);
  await uploadTile(test, task, values, buffers);
  if (importance) {
    using staged = await test.upload("importance", importance);
    await test.gpu.queue.copy(
      { of: staged, offset: 0 },
      { of: buffers.importance, offset: 0 },
      importance.byteLength,
    );
    await test.gpu.queue.idle();
  }
  const wanted = await quantizeTile(test.gpu, task, { firstRow: 0, rows: task.rows }, buffers, context);
  const parts = new Map<string, Uint8Array>();
  for (const part of wanted) parts.set(part.tensor, await test.readBytes(part.buffer, part.bytes));
  return { parts, statistics: await test.readWords(buffers.statistics) };
}
