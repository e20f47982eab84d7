// Each stage of a data-free job with nothing else at work, on the same bytes: the slowest of them is what the overlapped
// job is held against.

import { quantizeStep } from "../../src/pipeline/data-free/quantize-set.ts";
import pLimit from "p-limit";
import { type Gpu, openGpu } from "../../src/gpu/gpu.ts";
import { deleteJobFolder, openJobFolder } from "../../src/offload/job-folder.ts";
import { OutputStore } from "../../src/offload/output-store.ts";
import type { OpenModel } from "../../src/pipeline/inspect/open-model.ts";
import type { JobPlan } from "../../src/pipeline/planning/plan-job.ts";
import type { RemoteSource } from "../../src/pipeline/inspect/remote-source.ts";
import { createJointWork } from "../../src/joint-work.ts";
import { TilePipeline } from "../../src/pipeline/data-free/tile-pipeline.ts";
import { limitsFor } from "../../src/source/chunks/loader-limits.ts";
import { createSpareArrays } from "../../src/spare-arrays.ts";
import { randomNormal, seededRandom } from "../../src/testing/random.ts";
import type { FileRange } from "../../src/formats/files/file-ranges.ts";
import type { SourceFile } from "../../src/api/source-api.ts";
import type { TileTraffic } from "../../src/pipeline/job/traffic.ts";
import { endedBy } from "../../src/ended-by.ts";

const SCRATCH_JOB = "benchmark";
const WRITE_BYTES = 4 * 1024 ** 2;

/** Weight files whole: what a job that quantizes or copies every tensor downloads. */
export function weightRanges(files: readonly SourceFile[]): FileRange[] {
  return files
    .filter(({ path }) => path.endsWith(".safetensors"))
    .map(({ path, bytes }) => ({ path, start: 0, end: bytes }));
}

async function secondsOf(run: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

/** Fetches the weights with as many requests, of the same lengths, as the loader has, and drops them. */
export async function networkAlone(address: string, ranges: readonly FileRange[]): Promise<number> {
  const { chunkBytes, requestChunks, requests } = limitsFor(navigator.hardwareConcurrency);
  const pieces = ranges.flatMap(({ path, end }) =>
    Array.from({ length: Math.ceil(end / (chunkBytes * requestChunks)) }, (_, index) => {
      const start = index * chunkBytes * requestChunks;
      return { path, start, last: Math.min(start + chunkBytes * requestChunks, end) - 1 };
    }),
  );
  const drain = async () => {
    for (let piece = pieces.shift(); piece; piece = pieces.shift()) {
      const headers = { range: `bytes=${piece.start}-${piece.last}` };
      const response = await fetch(new URL(piece.path, address), { headers, cache: "no-store" });
      if (!response.ok) throw new Error(`${piece.path} was answered with ${response.status}.`);
      await response.body?.pipeTo(new WritableStream());
    }
  };
  return await secondsOf(async () => {
    await Promise.all(Array.from({ length: requests }, drain));
  });
}

/** Reads the weights through the source worker in a job's tiles, as fast as it hands them over; what was read is used up, and its memory used again. */
export async function loadingAlone(
  source: RemoteSource,
  ranges: readonly FileRange[],
  { tiling: { tileBytes, slots } }: JobPlan,
): Promise<number> {
  const pieces = ranges.flatMap(({ path, end: last }) =>
    Array.from({ length: Math.ceil(last / tileBytes) }, (_, index) => {
      const start = index * tileBytes;
      return { path, start, end: Math.min(start + tileBytes, last) };
    }),
  );
  const limit = pLimit(slots);
  const spare = createSpareArrays(slots * tileBytes);
  const seconds = await secondsOf(async () => {
    await source.prefetch(ranges);
    await limit.map(pieces, async (piece) => {
      spare.give(await source.read(piece, spare.take(piece.end - piece.start)));
      void source.use(piece);
    });
  });
  await source.prefetch([]);
  return seconds;
}

/** Uploads tiles of noise, quantizes them and reads the codes back, as the job's pipeline does. */
export async function gpuAlone(plan: JobPlan, budgetBytes: number): Promise<number> {
  using gpu: Gpu = await openGpu(budgetBytes);
  using tiles = await TilePipeline.create(gpu, plan.tiling);
  const tasks = plan.steps.flatMap(({ quantize }) => quantize);
  const noise = noiseOf(plan.tiling.tileBytes, tasks[0]?.dtype ?? "BF16");
  const traffic: TileTraffic = {
    joint: createJointWork(),
    read: async ({ start, end }) => await Promise.resolve(noise.subarray(0, end - start)),
    write: () => undefined,
    checkpoint: async () => await Promise.resolve(),
    recycle: () => undefined,
    finished: () => undefined,
  };
  return await secondsOf(async () => await quantizeStep(tiles, tasks, traffic));
}

function noiseOf(bytes: number, dtype: "BF16" | "F16" | "F32"): Uint8Array<ArrayBuffer> {
  const values = randomNormal(bytes / (dtype === "F32" ? 4 : 2), seededRandom(1), 0.02);
  if (dtype === "F32") return new Uint8Array(values.buffer);
  // As float16 the same bits are other small numbers, all finite.
  return new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16).buffer);
}

/** Writes a result of the job's size into OPFS and flushes it. */
export async function opfsAlone(plan: JobPlan): Promise<number> {
  const folder = await openJobFolder(SCRATCH_JOB);
  const bytes = new Uint8Array(WRITE_BYTES).fill(0x5a);
  const write = async () => {
    using store = await OutputStore.open(folder, plan.output.shards);
    return await secondsOf(async () => {
      for (const { name, start, end } of plan.output.shards.flatMap(({ entries }) => entries)) {
        for (let offset = 0; offset < end - start; offset += WRITE_BYTES) {
          store.write(name, offset, bytes.subarray(0, Math.min(WRITE_BYTES, end - start - offset)));
        }
      }
      store.flush();
      await Promise.resolve();
    });
  };
  return await endedBy(write, async () => await deleteJobFolder(SCRATCH_JOB));
}

/** Forgets what earlier runs left: a stored chunk is not downloaded, a finished job is not run. */
export async function forgetModel(source: RemoteSource, model: OpenModel): Promise<void> {
  await source.prefetch([]);
  await source.deleteStored(model.source.key);
}
