// A benchmark prepares its buffers, then runs one of the project's own wrappers again and again. Nothing here knows a
// kernel; nothing in the benchmarks knows a clock.

import { createLifetime, type Lifetime } from "../src/disposal.ts";
import { type Gpu, openGpu } from "../src/gpu/gpu.ts";
import { tuneMatmul } from "../src/gpu/matmul/tune-matmul.ts";
import type { BufferRequest, LedgerBuffer } from "../src/gpu/memory.ts";
import { ReadbackRing } from "../src/gpu/staging/readback-ring.ts";
import { UploadRing } from "../src/gpu/staging/upload-ring.ts";
import { randomNormal, seededRandom } from "../src/testing/random.ts";
import type { KernelRow, MeasuredRow, Milliseconds } from "./report/result.ts";

const PIECE_BYTES = 16 * 1024 ** 2;
/** Weights of a block of noise: the size of a staging piece as float32. */
const NOISE_VALUES = PIECE_BYTES / 4;
const NOISE_DEVIATION = 0.02;
/** The pacer has to learn how fast a kernel is before its cuts are those of a long job. */
const WARM_UPS = 2;
/** Runs shorter than this are repeated within one measurement, so that clocks and submits do not show. */
const MIN_MEASURED_MS = 20;
const MAX_RUNS = 64;

export interface BenchGpu extends Disposable {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  /** Normal noise with deviation 0.02, as bytes of the host. */
  readonly noise: { readonly F32: Uint8Array<ArrayBuffer>; readonly BF16: Uint8Array<ArrayBuffer> };
  /** Fills a whole buffer. */
  readonly writeNoise: (buffer: LedgerBuffer, dtype: "F32" | "BF16") => Promise<void>;
  /** A new buffer full of noise. */
  readonly allocateNoise: (request: BufferRequest, dtype: "F32" | "BF16") => Promise<LedgerBuffer>;
}

/** What is measured: `reset` brings back what `run` used up, outside the measured time. */
export interface Trial {
  readonly reset?: () => Promise<void>;
  readonly run: () => Promise<void>;
}

export interface Benchmark {
  readonly name: string;
  readonly shape: string;
  readonly unit: KernelRow["unit"];
  readonly work: number;
  /** Only kernels of ours are timed on the GPU; copies, transfers and other engines by the clock on the wall. */
  readonly kind?: "kernel" | "copy" | "transfer" | "foreign";
  readonly prepare: (bench: BenchGpu, lifetime: Lifetime) => Promise<Trial>;
}

export async function openBenchGpu(budgetBytes: number): Promise<BenchGpu> {
  const gpu = await openGpu(budgetBytes);
  await tuneMatmul(gpu);
  const ring = { pieceBytes: PIECE_BYTES, pieces: 2 };
  const lifetime = createLifetime();
  lifetime.use(gpu);
  const uploads = lifetime.use(await UploadRing.create(gpu, ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, ring));
  const values = randomNormal(NOISE_VALUES, seededRandom(1), NOISE_DEVIATION);
  const bf16 = Uint16Array.from(new Uint32Array(values.buffer), (word) => (word + 0x8000) >>> 16);
  const noise = { F32: new Uint8Array(values.buffer), BF16: new Uint8Array(bf16.buffer) };
  const blocks = {
    F32: lifetime.use(await gpu.memory.allocate({ label: "noise", bytes: noise.F32.byteLength })),
    BF16: lifetime.use(await gpu.memory.allocate({ label: "noise, bf16", bytes: noise.BF16.byteLength })),
  };
  await uploads.write(noise.F32, blocks.F32);
  await uploads.write(noise.BF16, blocks.BF16);
  const writeNoise: BenchGpu["writeNoise"] = async (buffer, dtype) =>
    await copyRepeated(gpu, blocks[dtype], buffer);
  return {
    gpu,
    uploads,
    readbacks,
    noise,
    writeNoise,
    async allocateNoise(request, dtype) {
      const buffer = await gpu.memory.allocate(request);
      await writeNoise(buffer, dtype);
      return buffer;
    },
    [Symbol.dispose]: () => lifetime[Symbol.dispose](),
  };
}

async function copyRepeated(gpu: Gpu, block: LedgerBuffer, to: LedgerBuffer): Promise<void> {
  for (let offset = 0; offset < to.bytes; offset += block.bytes) {
    const bytes = Math.min(block.bytes, to.bytes - offset);
    await gpu.queue.copy({ of: block, offset: 0 }, { of: to, offset }, bytes);
  }
  await gpu.queue.flush();
}

/** The host's bytes of a weight: the block of noise over and over. */
export function hostNoise(block: Uint8Array<ArrayBuffer>, bytes: number): Uint8Array<ArrayBuffer> {
  const filled = new Uint8Array(bytes);
  for (let offset = 0; offset < bytes; offset += block.byteLength) {
    filled.set(block.subarray(0, Math.min(block.byteLength, bytes - offset)), offset);
  }
  return filled;
}

/** Runs a benchmark; a failure becomes a row that says why. */
export async function measure(bench: BenchGpu, benchmark: Benchmark, repeats: number): Promise<MeasuredRow> {
  const { name, shape, unit, work, kind = "kernel" } = benchmark;
  const row = { name, shape, unit, work, repeats };
  using lifetime = createLifetime();
  try {
    const trial = await benchmark.prepare(bench, lifetime);
    const { gpu, wall } = await timeTrial(bench.gpu, trial, repeats);
    const gpuMs = kind === "kernel" && gpu.median > 0 ? gpu : null;
    const rate = work / ((gpuMs ?? wall).median / 1000);
    return { ...row, gpuMs, wallMs: wall, rate, failure: null };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return { ...row, gpuMs: null, wallMs: null, rate: 0, failure };
  }
}

async function timeTrial(
  gpu: Gpu,
  trial: Trial,
  repeats: number,
): Promise<{ gpu: Milliseconds; wall: Milliseconds }> {
  let first = 0;
  for (let warmUp = 0; warmUp < WARM_UPS; warmUp++) first = (await timeRuns(gpu, trial, 1)).wall;
  const runs = trial.reset ? 1 : Math.min(Math.max(Math.ceil(MIN_MEASURED_MS / first), 1), MAX_RUNS);
  const times = [];
  for (let repeat = 0; repeat < repeats; repeat++) times.push(await timeRuns(gpu, trial, runs));
  return { gpu: summarize(times.map((time) => time.gpu)), wall: summarize(times.map((time) => time.wall)) };
}

/** Milliseconds of one run, averaged over `runs` in a row. */
async function timeRuns(gpu: Gpu, trial: Trial, runs: number): Promise<{ gpu: number; wall: number }> {
  await trial.reset?.();
  await gpu.queue.idle();
  const busyBefore = gpu.queue.busyMs;
  const started = performance.now();
  for (let run = 0; run < runs; run++) await trial.run();
  await gpu.queue.idle();
  const wall = performance.now() - started;
  return { gpu: (gpu.queue.busyMs - busyBefore) / runs, wall: wall / runs };
}

function summarize(times: readonly number[]): Milliseconds {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  const lower = sorted[sorted.length % 2 === 0 ? middle - 1 : middle] ?? 0;
  return { median: (lower + upper) / 2, min: sorted[0] ?? 0 };
}
