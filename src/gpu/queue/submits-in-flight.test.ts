import { describe, expect, it } from "vitest";
import { createSubmitsInFlight } from "./submits-in-flight.ts";

const LIMITS = { milliseconds: 36, submits: 5 };

/** Submits of so many milliseconds each, in flight. */
function inFlight(milliseconds: readonly number[], isShort = false) {
  const submits = createSubmitsInFlight(LIMITS);
  const dones = milliseconds.map((each) => {
    let finish = () => {};
    const done = new Promise<void>((resolve) => (finish = resolve));
    submits.add(done, each, isShort);
    return finish;
  });
  return { submits, dones };
}

async function hasRoom({ submits }: ReturnType<typeof inFlight>): Promise<boolean> {
  let room = false;
  void submits.room().then(() => (room = true));
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  return room;
}

describe("submits in flight", () => {
  it.each([
    ["few long ones", [12, 12], true],
    ["as many long ones as make the time", [12, 12, 12], false],
    ["more short-lived ones in the same time", [3, 3, 3, 3], true],
    ["as many as may be in flight, however little they take", [0, 0, 0, 0, 0], false],
    ["one that takes longer than all may", [500], true],
  ])("leave room behind %s: %j", async (_, milliseconds, room) => {
    expect(await hasRoom(inFlight(milliseconds))).toBe(room);
  });

  it("have room again when one is done", async () => {
    const flight = inFlight([12, 12, 12]);
    expect(await hasRoom(flight)).toBe(false);
    flight.dones[0]?.();
    expect(await hasRoom(flight)).toBe(true);
  });

  it("do not count short copies, but end with them", async () => {
    const flight = inFlight([1, 1, 1, 1, 1, 1], true);
    expect(await hasRoom(flight)).toBe(true);
    let idle = false;
    const ended = flight.submits.idle().then(() => (idle = true));
    flight.dones.slice(1).forEach((done) => done());
    await Promise.resolve();
    expect(idle).toBe(false);
    flight.dones[0]?.();
    expect(await ended).toBe(true);
  });
});
