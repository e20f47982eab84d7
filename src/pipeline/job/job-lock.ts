// One job at a time in a browser profile and origin.

import { BusyError, StorageError } from "../../errors.ts";

/** Held by the job's worker: it dies with it, so no stale lock remains; it also keeps Chrome from freezing the tab. */
const JOB_LOCK = "layerpress-job";

/**
 * Runs a job while no other one runs.
 * @throws BusyError if another one does; StorageError if the browser gives nobody a lock
 */
export async function withJobLock<Result>(run: () => Promise<Result>): Promise<Result> {
  return await navigator.locks.request(JOB_LOCK, { ifAvailable: true }, async (lock) => {
    if (lock) return await run();
    if (await isHeld())
      throw new BusyError(
        "Another tab of this page is running a job. Wait for it, or cancel it there; two at once would share one GPU and one disk.",
      );
    throw new StorageError(
      "The browser cannot keep anything for a job: its disk is full, or cannot be written. Free space, then start again.",
    );
  });
}

/** Chromium refuses a lock that nobody has, where its disk has no room for the profile. */
async function isHeld(): Promise<boolean> {
  const { held = [] } = await navigator.locks.query();
  return held.some(({ name }) => name === JOB_LOCK);
}
