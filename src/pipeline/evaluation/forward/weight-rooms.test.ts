import { describe, expect, it } from "vitest";
import type { Gpu } from "../../../gpu/gpu.ts";
import type { BufferRequest } from "../../../gpu/memory.ts";
import { createWeightRooms, type RoomRequest } from "./weight-rooms.ts";

function setUp() {
  const events: string[] = [];
  const memory = {
    async allocateAll(requests: readonly BufferRequest[]) {
      if (requests.some(({ bytes }) => bytes > 1000)) throw new Error("too large");
      events.push(...requests.map(({ label }) => `make ${label}`));
      return await Promise.resolve(
        requests.map(({ label }) => ({
          label,
          [Symbol.dispose]: () => void events.push(`give up ${label}`),
        })),
      );
    },
  };
  const queue = { idle: async () => await Promise.resolve(void events.push("idle")) };
  const rooms = createWeightRooms({ memory, queue } as unknown as Gpu);
  const take = async (...asked: readonly RoomRequest[]) => await rooms.take(asked);
  return { rooms, take, events };
}

const room = (label: string, bytes: number, layout = "F32 8") => ({ label, bytes, layout });

describe("weights of one layer after the other", () => {
  it("have the room of those before them, without waiting for the GPU", async () => {
    const { rooms, take, events } = setUp();
    const first = await take(room("q", 64), room("k", 32), room("v", 32));
    rooms.giveBack(first);
    const second = await take(room("k2", 32), room("q2", 64), room("v2", 32));
    expect(second).toEqual([first[1], first[0], first[2]]);
    expect(events).toEqual(["make q", "make k", "make v"]);
  });

  it("give up what is of another size or layout before more is made, when the GPU is done with it", async () => {
    const { rooms, take, events } = setUp();
    const [kept, ...others] = await take(room("a", 64), room("b", 64, "F32 16"), room("c", 32));
    rooms.giveBack([kept, ...others].flatMap((each) => each ?? []));
    events.length = 0;
    expect((await take(room("d", 64), room("e", 64)))[0]).toBe(kept);
    expect(events).toEqual(["idle", "give up b", "give up c", "make e"]);
  });

  it("leave nothing behind, where there is no room either", async () => {
    const { rooms, take, events } = setUp();
    rooms.giveBack(await take(room("a", 64)));
    await expect(take(room("b", 64), room("c", 2000))).rejects.toThrow("too large");
    rooms[Symbol.dispose]();
    expect(events).toEqual(["make a", "give up a"]);
  });
});
