// Large files made of ranges of others, and hashed, in threads: hashing is what takes the longest of a merge.

import { once } from "node:events";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import pLimit from "p-limit";
import { MalformedModelError } from "../../../src/errors.ts";
import type { FileRange } from "../../../src/formats/files/file-ranges.ts";
import { allEnded } from "../../../src/all-ended.ts";
import { endedBy } from "../../../src/ended-by.ts";

export interface RangesCopy {
  /** What is hashed, and written, in front of the ranges. */
  readonly header: Uint8Array;
  readonly ranges: readonly FileRange[];
  /** The file that is written, or null where bytes are hashed alone. */
  readonly target: string | null;
}

export interface Copied {
  readonly bytes: number;
  readonly sha256: string;
}

/** Each holds 24 MiB, and a disk is not the faster for more. */
const MAX_THREADS = 8;
const THREAD = new URL("./copy-thread.mjs", import.meta.url);

/**
 * Copies side by side, as many at a time as there are cores, eight at most; begun in their order. The first failure ends the others.
 * @param done is told of each copy as it ends; what it throws is a failure, too
 * @throws MalformedModelError if a file is shorter than a range of it
 */
export async function copyRanges<Copy extends RangesCopy>(
  copies: readonly Copy[],
  done: (copy: Copy, copied: Copied) => void,
): Promise<void> {
  const failed = new AbortController();
  const limit = pLimit(Math.min(availableParallelism(), MAX_THREADS));
  const copying = copies.map(
    async (copy) =>
      await limit(async () => {
        if (failed.signal.aborted) return;
        try {
          done(copy, await copyInThread(copy, failed.signal));
        } catch (error) {
          failed.abort();
          throw error;
        }
      }),
  );
  // No thread writes any more when drafts are removed.
  await allEnded(copying);
}

async function copyInThread({ header, ranges, target }: RangesCopy, failed: AbortSignal): Promise<Copied> {
  const thread = new Worker(THREAD, { workerData: { header, ranges: joined(ranges), target } });
  const copy = async () => {
    const [answer] = (await once(thread, "message", { signal: failed })) as [
      Copied | { readonly ended: string },
    ];
    if ("ended" in answer)
      throw new MalformedModelError(
        `${answer.ended} ended in the middle of a tensor: it was changed meanwhile.`,
      );
    return answer;
  };
  return await endedBy(copy, async () => void (await thread.terminate()));
}

/** Ranges that follow each other in a file are one: norms and scales are small. */
function joined(ranges: readonly FileRange[]): FileRange[] {
  const runs: FileRange[] = [];
  for (const range of ranges) {
    const last = runs.at(-1);
    if (last?.path === range.path && last.end === range.start)
      runs[runs.length - 1] = { ...last, end: range.end };
    else runs.push(range);
  }
  return runs;
}
