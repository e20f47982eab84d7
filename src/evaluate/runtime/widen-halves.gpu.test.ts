import { describe, expect, it } from "vitest";
import { createGpu } from "../../gpu/gpu.ts";
import { openTestGpu } from "../../testing/open-test-gpu.ts";
import { widenHalves } from "../weights/weight-values.ts";
import { createWidener } from "./widen-halves.ts";

describe("bfloat16 weights", () => {
  it.each([
    { how: "in pieces on the GPU", leftBytes: 65_536 },
    { how: "on the processor where the budget has no room for a piece", leftBytes: 0 },
  ])("become float32 $how", async ({ leftBytes }) => {
    const halves = Uint16Array.from({ length: 301 }, (_, at) => (at * 211) % 0x7f80);
    using test = await openTestGpu();
    using to = await test.empty("weights", halves.length * 4);
    const { device, adapter } = test.gpu;
    using gpu = await createGpu(device, adapter, 2 ** 20);
    using taken = await gpu.memory.allocate({
      label: "taken",
      bytes: gpu.memory.freeBytes - leftBytes,
    });
    const widen = createWidener(device, gpu.memory, 256);
    await widen(halves, to.buffer);
    expect(gpu.memory.freeBytes).toBe(leftBytes);
    expect(gpu.memory.live()[0]?.label).toBe(taken.label);
    expect(new Uint32Array((await test.readFloats(to)).buffer)).toEqual(
      new Uint32Array(widenHalves(halves).buffer),
    );
  });
});
