import { afterEach, expect, it, vi } from "vitest";
import { withJobLock } from "./job-lock.ts";

afterEach(() => vi.unstubAllGlobals());

/** A browser that gives no lock, and says that these are held. */
function refuseLocks(held: readonly string[]): void {
  const request = async (_: string, __: object, use: (lock: null) => Promise<unknown>) => await use(null);
  const query = async () => await Promise.resolve({ held: held.map((name) => ({ name })) });
  vi.stubGlobal("navigator", { locks: { request, query } });
}

it("tells another job from a disk that has no room for a lock", async () => {
  refuseLocks(["layerpress-job"]);
  await expect(withJobLock(async () => await Promise.resolve(1))).rejects.toMatchObject({
    name: "BusyError",
  });
  refuseLocks(["another"]);
  await expect(withJobLock(async () => await Promise.resolve(1))).rejects.toMatchObject({
    name: "StorageError",
    message: expect.stringMatching(/its disk is full, or cannot be written\. Free space/),
  });
});
