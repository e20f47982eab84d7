import { describe, expect, it, vi } from "vitest";
import { DeviceLimitError } from "../errors.ts";
import { openGpu } from "./gpu.ts";
import { QUEUE_BYTES } from "./queue/paced-queue.ts";

const MIB = 1024 ** 2;

describe("GpuMemory", () => {
  it("counts what is live, remembers the peak and stands at zero at the end", async () => {
    const gpu = await openGpu(64 * MIB);
    const own = gpu.memory.bytes;
    expect(own).toBeLessThanOrEqual(QUEUE_BYTES);
    {
      using first = await gpu.memory.allocate({ label: "first", bytes: 3 * MIB });
      using second = await gpu.memory.allocate({ label: "second", bytes: 5 });
      expect(first.bytes + second.bytes).toBe(3 * MIB + 16);
      expect(gpu.memory.bytes).toBe(own + 3 * MIB + 16);
      expect(gpu.memory.live()[0]).toEqual({ label: "first", bytes: 3 * MIB });
    }
    expect(gpu.memory.bytes).toBe(own);
    expect(gpu.memory.peakBytes).toBe(own + 3 * MIB + 16);
    gpu[Symbol.dispose]();
    expect(gpu.memory.bytes).toBe(0);
  });

  it("refuses what the budget does not hold, and names the budget that would do", async () => {
    using gpu = await openGpu(MIB);
    await expect(gpu.memory.allocate({ label: "weights", bytes: 2 * MIB })).rejects.toThrow(
      /weights needs 2 MiB of GPU memory; .* of the budget of 1 MiB is in use\. A budget of 2\.\d+ MiB would do/,
    );
    expect(gpu.memory.bytes).toBeLessThanOrEqual(QUEUE_BYTES);
  });

  it("makes all buffers of a batch or none", async () => {
    using gpu = await openGpu(4 * MIB);
    const before = gpu.memory.bytes;
    const requests = [
      { label: "a", bytes: MIB },
      { label: "b", bytes: 8 * MIB },
    ];
    await expect(gpu.memory.allocateAll(requests)).rejects.toThrow(DeviceLimitError);
    expect(gpu.memory.bytes).toBe(before);
  });

  it("names the adapter's limit for a buffer that is too large for it", async () => {
    using gpu = await openGpu(2 ** 50);
    const bytes = gpu.device.limits.maxBufferSize + 4;
    await expect(gpu.memory.allocate({ label: "Hessian", bytes })).rejects.toThrow(/maxBufferSize/);
  });

  it("notices memory that the GPU does not really have", async () => {
    using gpu = await openGpu(2 ** 50);
    const before = gpu.memory.bytes;
    // The software adapter allows buffers of 1 GiB by its limits, and cannot make them.
    const bytes = gpu.device.limits.maxBufferSize;
    await expect(gpu.memory.allocate({ label: "too much", bytes })).rejects.toThrow(/The GPU refused/);
    expect(gpu.memory.bytes).toBe(before);
  });

  it("gives a place again when what was destroyed there is gone, and promises it meanwhile", async () => {
    using gpu = await openGpu(64 * MIB);
    const first = await gpu.memory.allocate({ label: "first", bytes: 40 * MIB });
    await gpu.queue.clear(first);
    await gpu.queue.idle();
    const calls = watchCalls(gpu.device);
    first[Symbol.dispose]();
    const allocating = gpu.memory.allocate({ label: "second", bytes: 40 * MIB });
    await expect(gpu.memory.allocate({ label: "third", bytes: 40 * MIB })).rejects.toThrow(DeviceLimitError);
    using second = await allocating;
    expect(second.bytes).toBe(40 * MIB);
    expect(calls).toEqual(["submit", "done", "create"]);
  });

  it("waits for nothing where there is room beside it, or where it has gone with later work", async () => {
    using gpu = await openGpu(64 * MIB);
    const first = await gpu.memory.allocate({ label: "first", bytes: 40 * MIB });
    first[Symbol.dispose]();
    const calls = watchCalls(gpu.device);
    using second = await gpu.memory.allocate({ label: "second", bytes: 16 * MIB });
    expect(calls.splice(0)).toEqual(["create"]);
    await gpu.queue.clear(second);
    await gpu.queue.idle();
    calls.length = 0;
    using third = await gpu.memory.allocate({ label: "third", bytes: 40 * MIB });
    expect(third.bytes).toBe(40 * MIB);
    expect(calls).toEqual(["create"]);
  });
});

/** What a device is asked for from now on: submits and new buffers, and when what it was to do is done. */
function watchCalls(device: GPUDevice): string[] {
  const calls: string[] = [];
  const { queue } = device;
  const [submit, done, create] = [
    queue.submit.bind(queue),
    queue.onSubmittedWorkDone.bind(queue),
    device.createBuffer.bind(device),
  ];
  vi.spyOn(queue, "submit").mockImplementation((commands) => {
    calls.push("submit");
    submit(commands);
  });
  vi.spyOn(queue, "onSubmittedWorkDone").mockImplementation(async () => {
    await done();
    calls.push("done");
  });
  vi.spyOn(device, "createBuffer").mockImplementation((descriptor) => {
    calls.push("create");
    return create(descriptor);
  });
  return calls;
}
