// Bytes on the move: between buffers of the GPU, which is the ceiling of everything that counts bytes, and through the
// rings of staging buffers.

import type { Benchmark } from "../benchmark.ts";
import { hostNoise } from "../benchmark.ts";
import type { Sizes } from "../model-shapes.ts";

/** Copies of one run: one of a gigabyte takes less than a submit costs. */
const COPIES = 16;

/** Each byte is read once and written once. */
export function copyBandwidth({ copyBytes }: Sizes): Benchmark {
  return {
    name: "ceiling.copy",
    shape: `${COPIES} × ${copyBytes} bytes`,
    unit: "byte",
    work: 2 * COPIES * copyBytes,
    kind: "copy",
    async prepare({ gpu, allocateNoise }, lifetime) {
      const from = lifetime.use(await allocateNoise({ label: "copied from", bytes: copyBytes }, "F32"));
      const to = lifetime.use(await gpu.memory.allocate({ label: "copied to", bytes: copyBytes }));
      return {
        async run() {
          for (let copy = 0; copy < COPIES; copy++) {
            await gpu.queue.copy({ of: from, offset: 0 }, { of: to, offset: 0 }, copyBytes);
          }
        },
      };
    },
  };
}

export function transferBenchmarks({ transferBytes }: Sizes): Benchmark[] {
  const row = {
    shape: `${transferBytes} bytes`,
    unit: "byte",
    work: transferBytes,
    kind: "transfer",
  } as const;
  return [
    {
      ...row,
      name: "transfer.upload",
      async prepare({ gpu, uploads, noise }, lifetime) {
        const bytes = hostNoise(noise.F32, transferBytes);
        const to = lifetime.use(await gpu.memory.allocate({ label: "uploaded", bytes: transferBytes }));
        return { run: async () => await uploads.write(bytes, to) };
      },
    },
    {
      ...row,
      name: "transfer.readback",
      async prepare({ readbacks, allocateNoise }, lifetime) {
        const from = lifetime.use(await allocateNoise({ label: "read back", bytes: transferBytes }, "F32"));
        const bytes = new Uint8Array(transferBytes);
        return {
          run: async () =>
            await readbacks.read(from, 0, transferBytes, (view, position) => bytes.set(view, position)),
        };
      },
    },
  ];
}
