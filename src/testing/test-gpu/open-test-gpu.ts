// A GPU for tests. A missing adapter fails the test: a skipped kernel test would promise nothing. All test files share one
// device, so that the software adapter compiles a kernel once and not in each of them; ledgers, queues and what was learned
// or tuned are each test's own.

import { createGpu, type Gpu, requestAdapter, requestDevice, summarizeAdapter } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";

const BUDGET_BYTES = 256 * 1024 ** 2;
const PIECE = { pieceBytes: 1024 ** 2, pieces: 2 };

export interface TestGpu extends Disposable {
  readonly gpu: Gpu;
  upload(label: string, data: ArrayBufferView): Promise<LedgerBuffer>;
  empty(label: string, bytes: number): Promise<LedgerBuffer>;
  readFloats(buffer: LedgerBuffer, count?: number): Promise<Float32Array>;
  readInts(buffer: LedgerBuffer, count?: number): Promise<Int32Array>;
  readWords(buffer: LedgerBuffer, count?: number): Promise<Uint32Array>;
  readBytes(buffer: LedgerBuffer, count?: number): Promise<Uint8Array>;
}

interface TestDevice {
  readonly device: GPUDevice;
  readonly adapter: Gpu["adapter"];
}

let shared: Promise<TestDevice> | null = null;
const open = new Set<TestGpu>();

/** What lies on the GPU in the ledgers of all tests that are at work. */
export function liveBuffers(): { label: string; bytes: number }[] {
  return [...open].flatMap(({ gpu }) => gpu.memory.live());
}

/** A GPU on the shared device. Disposing it fails if anything of it is still live. */
export async function openTestGpu(budgetBytes = BUDGET_BYTES): Promise<TestGpu> {
  shared ??= openSharedDevice();
  const { device, adapter } = await shared;
  await device.queue.onSubmittedWorkDone();
  return await openOn(await createGpu(device, adapter, budgetBytes));
}

/** A GPU on a device of its own, for tests that lose it. */
export async function openDeviceAlone(): Promise<TestGpu> {
  const { device, adapter } = await openDevice();
  return await openOn(await createGpu(device, adapter, BUDGET_BYTES));
}

async function openDevice(): Promise<TestDevice> {
  const adapter = await requestAdapter();
  return { device: await requestDevice(adapter), adapter: summarizeAdapter(adapter) };
}

/** The browser compiles the same kernel of a device once while a pipeline of it is alive: all are kept. */
async function openSharedDevice(): Promise<TestDevice> {
  const opened = await openDevice();
  const { device } = opened;
  const pipelines: GPUComputePipeline[] = [];
  const compile = device.createComputePipelineAsync.bind(device);
  device.createComputePipelineAsync = async (description) => {
    const pipeline = await compile(description);
    pipelines.push(pipeline);
    return pipeline;
  };
  void device.lost.then(() => {
    shared = null;
  });
  return opened;
}

async function openOn(gpu: Gpu): Promise<TestGpu> {
  const uploads = await UploadRing.create(gpu, PIECE);
  const readbacks = await ReadbackRing.create(gpu, PIECE);
  const bytesOf = async (buffer: LedgerBuffer, count: number) =>
    (await readbacks.readBytes(buffer, 0, count)).buffer;
  const test: TestGpu = {
    gpu,
    async upload(label, data) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const buffer = await gpu.memory.allocate({ label, bytes: bytes.byteLength });
      await uploads.write(bytes, buffer);
      return buffer;
    },
    empty: (label, bytes) => gpu.memory.allocate({ label, bytes }),
    readFloats: async (buffer, count = buffer.bytes / 4) =>
      new Float32Array(await bytesOf(buffer, count * 4)),
    readInts: async (buffer, count = buffer.bytes / 4) => new Int32Array(await bytesOf(buffer, count * 4)),
    readWords: async (buffer, count = buffer.bytes / 4) => new Uint32Array(await bytesOf(buffer, count * 4)),
    readBytes: async (buffer, count = buffer.bytes) => new Uint8Array(await bytesOf(buffer, count)),
    [Symbol.dispose]() {
      open.delete(test);
      uploads[Symbol.dispose]();
      readbacks[Symbol.dispose]();
      gpu[Symbol.dispose]();
      const left = gpu.memory.live().map(({ label, bytes }) => `${label} (${bytes} bytes)`);
      if (left.length > 0) throw new Error(`A test left on the GPU: ${left.join(", ")}`);
    },
  };
  open.add(test);
  return test;
}
