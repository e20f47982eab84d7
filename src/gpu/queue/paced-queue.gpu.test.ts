import { describe, expect, it } from "vitest";
import { DeviceLostError } from "../../errors.ts";
import { openDeviceAlone, openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { kernel } from "../kernel.ts";
import { UPDATE_BYTES } from "./paced-queue.ts";
import { struct } from "../struct.ts";

const addKernel = kernel({
  name: "test.add",
  code: [
    `struct Params { count: u32, amount: u32 }
    @group(0) @binding(0) var<uniform> params: Params;
    @group(0) @binding(1) var<storage, read_write> values: array<u32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      if (id.x < params.count) { values[id.x] += params.amount; }
    }`,
  ],
  params: struct({ count: "u32", amount: "u32" }),
  bindings: { values: "read_write" },
});

const spinKernel = kernel({
  name: "test.spin",
  code: [
    `struct Params { turns: u32, first: u32 }
    @group(0) @binding(0) var<uniform> params: Params;
    @group(0) @binding(1) var<storage, read_write> values: array<u32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      var x = id.x + params.first;
      for (var i = 0u; i < params.turns; i++) { x = x * 1664525u + 1013904223u; }
      values[id.x] = x;
    }`,
  ],
  params: struct({ turns: "u32", first: "u32" }),
  bindings: { values: "read_write" },
});

describe("PacedQueue", () => {
  it("keeps dispatches, copies and clears in order, over more dispatches than one params ring holds", async () => {
    using test = await openTestGpu();
    const { queue } = test.gpu;
    using values = await test.upload("values", new Uint32Array(64).fill(1));
    using copy = await test.empty("copy", 256);
    for (let turn = 0; turn < 700; turn++) {
      await queue.run(addKernel, {
        params: { count: 64, amount: turn },
        buffers: { values },
        workgroups: [1],
        work: 64,
      });
    }
    await queue.copy({ of: values, offset: 0 }, { of: copy, offset: 0 }, 256);
    await queue.clear(values);
    expect(await test.readWords(copy, 64)).toEqual(new Uint32Array(64).fill(1 + (699 * 700) / 2));
    expect(await test.readWords(values, 64)).toEqual(new Uint32Array(64));
  });

  it("puts updates where they stand among dispatches, over more bytes than one submit brings along", async () => {
    using test = await openTestGpu();
    const { queue } = test.gpu;
    const words = UPDATE_BYTES / 8;
    using values = await test.empty("values", words * 4);
    const given = new Uint32Array(words);
    for (let turn = 1; turn <= 5; turn++) {
      await queue.update(new Uint8Array(given.fill(10 * turn).buffer), values);
      await queue.run(addKernel, {
        params: { count: 64, amount: turn },
        buffers: { values },
        workgroups: [1],
        work: 64,
      });
    }
    await queue.update(Uint8Array.of(1, 2, 3, 4, 5), values, 256);
    const seen = await test.readWords(values, words);
    const expected = new Uint32Array(words).fill(50).fill(55, 0, 64);
    expect(seen).toEqual(expected.fill(0x04030201, 64, 65).fill(5, 65, 66));
  });

  it("submits what uses a buffer before that is given back, though nobody waited for it", async () => {
    using test = await openTestGpu();
    const { queue } = test.gpu;
    using copy = await test.empty("copy", 512);
    const values = await test.upload("values", new Uint32Array(64).fill(1));
    await queue.idle();
    const before = queue.submits;
    await queue.copy({ of: values, offset: 0 }, { of: copy, offset: 256 }, 256);
    using unused = await test.empty("unused", 256);
    unused[Symbol.dispose]();
    expect(queue.submits).toBe(before);
    values[Symbol.dispose]();
    expect(queue.submits).toBe(before + 1);
    expect((await test.readWords(copy, 128)).subarray(64)).toEqual(new Uint32Array(64).fill(1));
  });

  it("cuts work into submits of bounded time as it learns the adapter's speed", async () => {
    using test = await openTestGpu();
    const { queue } = test.gpu;
    using values = await test.empty("values", 4096);
    const turns = 4000;
    const units = turns * 64;
    for (const { first, end } of queue.split(spinKernel, 400, units)) {
      await queue.run(spinKernel, {
        params: { turns: turns * (end - first), first },
        buffers: { values },
        workgroups: [1],
        work: units * (end - first),
      });
    }
    await queue.idle();
    expect(queue.submits).toBeGreaterThan(1);
    expect(queue.busyMs).toBeGreaterThan(0);
    expect(queue.longestSubmits.length).toBeGreaterThan(0);
    expect(queue.longestSubmits[0]?.milliseconds).toBeLessThanOrEqual(queue.busyMs);
    expect(queue.longestSubmits[0]?.kernels).toEqual([expect.stringMatching(/^test\.spin × \d+$/)]);
  });

  it("says so when the GPU is lost, then and afterwards", async () => {
    using test = await openDeviceAlone();
    const { gpu } = test;
    using values = await test.upload("values", new Uint32Array(64));
    gpu.device.destroy();
    await gpu.device.lost;
    await expect(gpu.queue.idle()).rejects.toThrow(DeviceLostError);
    await expect(test.readWords(values, 64)).rejects.toThrow(DeviceLostError);
  });
});
