// FOLDER/.layerpress: where the browser of one command keeps what is finished until the result is written. A lock file says
// whose it is: Chromium's own lock on a profile says so too, but only in words that nobody understands.

import { randomUUID } from "node:crypto";
import { link, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { makeFolders, removeEmptyFolders } from "./make-folders.ts";
import { endedBy } from "../../src/ended-by.ts";

const LOCK = "lock";
/** How often a lock is looked at whose owner has ended, or that another command takes at the same moment. */
const TRIES = 5;

/** The same output folder is being written by another command. */
class InUseError extends Error {
  override readonly name = "BusyError";
}

export interface WorkFolder extends AsyncDisposable {
  readonly path: string;
  /** True if an earlier command left something here. */
  readonly continued: boolean;
  /** Deletes the folder, and those that were made for it as far as they are empty. */
  forget(): Promise<void>;
}

interface Owner {
  readonly host: string;
  readonly pid: number;
  /** When the process began, by the system's clock of processes; null where that cannot be read. */
  readonly began: string | null;
}

/**
 * Makes `out`/.layerpress and takes it for this process until disposed.
 * @throws InUseError if a living process has it
 */
export async function openWorkFolder(out: string): Promise<WorkFolder> {
  const path = join(out, ".layerpress");
  const made = await makeFolders(path);
  const lock = join(path, LOCK);
  await takeLock(lock, out);
  const continued = (await readdir(path)).some((name) => !name.startsWith(LOCK));
  return {
    path,
    continued,
    async forget() {
      await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      if (made !== undefined && made !== path) await removeEmptyFolders(out, made);
    },
    [Symbol.asyncDispose]: async () => await rm(lock, { force: true }),
  };
}

async function takeLock(lock: string, out: string): Promise<void> {
  const mine = JSON.stringify({ host: hostname(), pid: process.pid, began: await beganAt(process.pid) });
  for (let attempt = 0; attempt < TRIES; attempt++) {
    if (await create(lock, mine)) return;
    const text = await readFile(lock, "utf8").catch(() => null);
    if (text === null) continue;
    const owner = readOwner(text);
    if (owner && (await lives(owner))) throw inUse(out, lock, owner);
    await setAside(lock, text);
  }
  throw new InUseError(`${out} is being written by another command. Wait for it, or choose another --out.`);
}

/** Appears whole or not at all: what was written under another name is given the lock's. */
async function create(lock: string, text: string): Promise<boolean> {
  const draft = `${lock}.${randomUUID()}`;
  await writeFile(draft, text);
  const give = async () => {
    try {
      await link(draft, lock);
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
      throw error;
    }
  };
  return await endedBy(give, async () => await rm(draft, { force: true }));
}

/** Takes a dead owner's lock away. Where another command was faster and it is that one's lock by now, it is put back. */
async function setAside(lock: string, text: string): Promise<void> {
  const aside = `${lock}.${randomUUID()}`;
  try {
    await rename(lock, aside);
  } catch {
    return; // it is gone already
  }
  if ((await readFile(aside, "utf8")) !== text) await link(aside, lock).catch(() => undefined);
  await rm(aside, { force: true });
}

function readOwner(text: string): Owner | null {
  try {
    const value = JSON.parse(text) as Partial<Owner>;
    const { host, pid, began = null } = value;
    return typeof host === "string" && Number.isSafeInteger(pid) ? { host, pid: Number(pid), began } : null;
  } catch {
    return null;
  }
}

/** Another machine's processes cannot be seen, so that its locks are believed. */
async function lives({ host, pid, began }: Owner): Promise<boolean> {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  return began === (await beganAt(pid));
}

/** Field 22 of /proc/PID/stat, which tells a process from a later one with its number; null where there is no /proc. */
async function beganAt(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}

function inUse(out: string, lock: string, { host, pid }: Owner): InUseError {
  return new InUseError(
    host === hostname()
      ? `Another command (process ${pid}) is writing ${out}. Wait until it has ended, or choose another --out.`
      : `A command on ${host} is writing ${out}. Wait until it has ended, or choose another --out; if it was killed there, delete ${lock}.`,
  );
}
