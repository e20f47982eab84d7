// What shares of a job leave where all of them see it, so that others can say who is missing instead of waiting for ever. A sign names
// the job: a share that was given another source, recipe or text lives, and what the others wait for never comes.

import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AskedShare } from "../arguments/share-arguments.ts";
import { makeFolders } from "../make-folders.ts";

const LIFE_MS = 1000;

/** Name of a share's own job; empty until its page has asked for a first file. */
export type OwnJob = () => string;

export interface Silence {
  /** Since the last sign of life for this job. */
  readonly seconds: number;
  /** True if there are signs of life since then, for another job. */
  readonly elsewhere: boolean;
}

export function signOf({ folder }: AskedShare, index: number): string {
  return join(folder, `alive-${index + 1}`);
}

/** Writes another number every second, and the job; the result ends that. */
export function giveSignsOfLife(share: AskedShare, job: OwnJob): () => Promise<void> {
  const path = signOf(share, share.index);
  let writing: Promise<void> | null = null;
  const write = () => {
    // A folder that cannot be written to is told of by what is written for the others.
    // A share that made it, and was refused, may have taken it away.
    writing ??= makeFolders(share.folder)
      .then(async () => await writeFile(`${path}.draft`, `${Date.now()} ${job()}`))
      .then(async () => await rename(`${path}.draft`, path))
      .catch(() => undefined)
      .finally(() => {
        writing = null;
      });
  };
  write();
  const timer = setInterval(write, LIFE_MS);
  return async () => {
    clearInterval(timer);
    await writing;
  };
}

/** Tells how long a share has been silent, by this machine's clock: those of two machines may differ. */
export function watchOthers(share: AskedShare, job: OwnJob): (from: number) => Promise<Silence> {
  const seen = new Map<number, { sign: string | null; since: number; elsewhere: boolean }>();
  return async (from) => {
    const sign = await readFile(signOf(share, from), "utf8").catch(() => null);
    const now = performance.now();
    const before = seen.get(from);
    if (before?.sign === sign) return { seconds: (now - before.since) / 1000, elsewhere: before.elsewhere };
    // What an earlier job has left is no sign of life before it changes.
    const elsewhere = before !== undefined && isOfOther(sign, job());
    const since = elsewhere ? before.since : now;
    seen.set(from, { sign, since, elsewhere });
    return { seconds: (now - since) / 1000, elsewhere };
  };
}

function isOfOther(sign: string | null, own: string): boolean {
  const [, job = ""] = sign?.split(" ") ?? [];
  return job !== "" && own !== "" && job !== own;
}
