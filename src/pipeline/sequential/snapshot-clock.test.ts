import { describe, expect, it } from "vitest";
import { createSnapshotClock } from "./snapshot-clock.ts";

describe("the snapshot clock", () => {
  it("lets work go on until a snapshot costs an eighth of it", () => {
    let now = 0;
    const clock = createSnapshotClock(200_000_000, "gpu", () => now);
    now = 7_999;
    expect(clock.due()).toBe(false);
    now = 8_000;
    expect(clock.due()).toBe(true);
    clock.restart();
    expect(clock.due()).toBe(false);
  });

  it("always finds states due that wait in a file anyway", () => {
    expect(createSnapshotClock(1e12, "file", () => 0).due()).toBe(true);
  });
});
