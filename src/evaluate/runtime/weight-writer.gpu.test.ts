import { describe, expect, it } from "vitest";
import { createGpu } from "../../gpu/gpu.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { widenHalves } from "../weights/weight-values.ts";
import { openWeightWriter } from "./weight-writer.ts";

const SIZE = { pieceBytes: 512, pieces: 2 };
/** Longer than pieces, together in one, and no multiple of 4 bytes. */
/** Of 301 halves. */
const RUN = 192;
const LENGTHS = [700, 40, 300, 30, 20, 41];

describe("weights on their way to the GPU", () => {
  it.each([
    { how: "in pieces", bytes: 2 ** 30, leftBytes: 2 ** 20 },
    { how: "by the queue where there are few of them", bytes: 1024, leftBytes: 2 ** 20 },
    { how: "by the queue where the budget has no room for pieces", bytes: 2 ** 30, leftBytes: 1024 },
  ])("arrive $how, bfloat16 as float32, and leave nothing behind", async ({ bytes, leftBytes }) => {
    using test = await openTestGpu();
    const { device, adapter } = test.gpu;
    using gpu = await createGpu(device, adapter, 2 ** 22);
    const rooms = await gpu.memory.allocateAll(
      [...LENGTHS, 4 * 301].map((length) => ({ label: "weight", bytes: length })),
    );
    const taken = await gpu.memory.allocate({ label: "taken", bytes: gpu.memory.freeBytes - leftBytes });
    const codes = LENGTHS.map((length) => Uint8Array.from({ length }, (_, at) => (at * 7 + length) % 251));
    const halves = Uint16Array.from({ length: 301 }, (_, at) => (at * 211) % 0x7f80);
    const writer = await openWeightWriter(device, gpu.memory, bytes, SIZE);
    for (const [at, data] of codes.entries()) {
      const to = rooms[at];
      if (to) await writer.write(data, to, 0);
    }
    for (const first of [0, RUN]) {
      const to = rooms.at(-1);
      if (to) await writer.write(halves.slice(first, first + RUN), to, first * 4);
    }
    await writer.settle();
    expect(gpu.memory.freeBytes).toBe(leftBytes);
    const read = await Promise.all(rooms.map(async (room) => await test.readBytes(room)));
    expect(read.slice(0, -1).map((own, at) => own.subarray(0, LENGTHS[at]))).toEqual(codes);
    expect(read.at(-1)).toEqual(new Uint8Array(widenHalves(halves).buffer));
    for (const room of [...rooms, taken]) room[Symbol.dispose]();
  });
});
