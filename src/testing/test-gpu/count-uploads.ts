// What a test's host gives the GPU: through mapped memory, and by writes.

import { vi } from "vitest";

export interface UploadCount extends Disposable {
  readonly bytes: number;
}

/** Counts bytes from now on, of all devices, until it is disposed of; not those of uniforms, which tell kernels of their sizes. */
export function countUploads(): UploadCount {
  const mapped = vi.spyOn(GPUBuffer.prototype, "getMappedRange");
  const written = vi.spyOn(GPUQueue.prototype, "writeBuffer");
  const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
  return {
    get bytes() {
      const { calls, contexts } = mapped.mock;
      const buffers = contexts as readonly Partial<GPUBuffer>[];
      const isUpload = (index: number) => ((buffers[index]?.usage ?? 0) & GPUBufferUsage.MAP_WRITE) !== 0;
      const writes = written.mock.calls.filter(([to]) => (to.usage & GPUBufferUsage.UNIFORM) === 0);
      return (
        sum(calls.filter((_, index) => isUpload(index)).map(([, size = 0]) => size)) +
        sum(writes.map(([, , data]) => data.byteLength))
      );
    },
    [Symbol.dispose]() {
      mapped.mockRestore();
      written.mockRestore();
    },
  };
}
