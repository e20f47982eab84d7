// A GPU for tests. A missing adapter fails the test: a skipped kernel test would promise nothing.

import { type Gpu, openGpu } from "../gpu/gpu.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import { ReadbackRing, UploadRing } from "../gpu/staging.ts";

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

export async function openTestGpu(budgetBytes = BUDGET_BYTES): Promise<TestGpu> {
  const gpu = await openGpu(budgetBytes);
  const uploads = await UploadRing.create(gpu, PIECE);
  const readbacks = await ReadbackRing.create(gpu, PIECE);
  const bytesOf = async (buffer: LedgerBuffer, count: number) =>
    (await readbacks.readBytes(buffer, 0, count)).buffer;
  return {
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
      uploads[Symbol.dispose]();
      readbacks[Symbol.dispose]();
      gpu[Symbol.dispose]();
    },
  };
}
