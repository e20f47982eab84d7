import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSnapshotClock, snapshotPace, type Snapshots } from "./snapshot-clock.ts";

const SNAPSHOTS: Snapshots = { bytes: 200_000_000, place: "gpu", generation: 0, isWanted: () => false };

// Tests of whole jobs change it, in the same process.
const { bytesPerSecond } = snapshotPace;
beforeAll(() => void (snapshotPace.bytesPerSecond = 200_000_000));
afterAll(() => void (snapshotPace.bytesPerSecond = bytesPerSecond));

describe("the snapshot clock", () => {
  it("lets work go on until a snapshot costs an eighth of it", () => {
    let now = 0;
    const clock = createSnapshotClock(SNAPSHOTS, () => now);
    now = 7_999;
    expect(clock.due(1)).toBe(false);
    now = 8_000;
    expect(clock.due(1)).toBe(true);
    clock.restart(1);
    expect(clock.due(2)).toBe(false);
  });

  it("never writes over the last snapshot", () => {
    let now = 0;
    const clock = createSnapshotClock({ ...SNAPSHOTS, generation: 3 }, () => now);
    now = 8_000;
    expect([4, 5, 6].map((generation) => clock.due(generation))).toEqual([true, false, true]);
    clock.restart(6);
    now = 16_000;
    expect([7, 8, 9].map((generation) => clock.due(generation))).toEqual([true, false, true]);
  });

  it.each([[[2, 4]], [[3, 5, 6]]])(
    "writes what is wanted in front of %j, each in another file than the one before",
    (wanted) => {
      const clock = createSnapshotClock({ ...SNAPSHOTS, isWanted: (at) => wanted.includes(at) }, () => 0);
      const written = [0];
      for (let generation = 1; generation <= 6; generation++) {
        if (!clock.due(generation)) continue;
        clock.restart(generation);
        written.push(generation);
      }
      expect(written).toEqual(expect.arrayContaining(wanted));
      const steps = written.slice(1).map((generation, at) => generation - (written[at] ?? 0));
      expect(steps.every((step) => step % 2 === 1)).toBe(true);
    },
  );

  it("always finds states due that wait in a file anyway", () => {
    expect(createSnapshotClock({ ...SNAPSHOTS, bytes: 1e12, place: "file" }, () => 0).due(2)).toBe(true);
  });
});
