// One command at a time installs and builds; the others wait and find it done. Plain JavaScript without dependencies, as what uses it.

import { randomUUID } from "node:crypto";
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";

const LOOK_MS = 200;
/** Longer than installing takes over a slow network. */
const PATIENCE_MS = 20 * 60_000;

/**
 * Does work unless it is done, while no other process does it. The lock of a process that was killed is taken away, and the work done anew.
 * @param {string} lock path of the file that says who is at work
 * @param {() => boolean} isDone asked again once nobody else is at work
 * @param {() => void} work
 * @param {number} [patience] milliseconds that another process is waited for
 * @throws Error with a sentence if another process does not end
 */
export function doOnce(lock, isDone, work, patience = PATIENCE_MS) {
  // Half of a build may look as the whole one, as long as there is a lock.
  if (isDone() && !existsSync(lock)) return;
  const wasBrokenOff = take(lock, patience);
  try {
    if (wasBrokenOff || !isDone()) work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/**
 * @param {string} lock
 * @param {number} patience
 * @returns {boolean} true if another process had it and was killed
 */
function take(lock, patience) {
  const mine = JSON.stringify({ host: hostname(), pid: process.pid, began: beganAt(process.pid) });
  const end = performance.now() + patience;
  let wasBrokenOff = false;
  for (let told = false; !create(lock, mine);) {
    const text = read(lock);
    if (text === null) continue;
    const owner = readOwner(text);
    if (!owner || !lives(owner)) {
      setAside(lock, text);
      wasBrokenOff = true;
      continue;
    }
    if (!told) console.log(`Waiting for process ${owner.pid} on ${owner.host}, which installs or builds …`);
    told = true;
    if (performance.now() > end)
      throw new Error(
        `Process ${owner.pid} on ${owner.host} has been installing or building for ${Math.round(patience / 60_000)} minutes. End it, or delete ${lock} if it was killed, and give the command again.`,
      );
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
  }
  return wasBrokenOff;
}

/**
 * Appears whole or not at all: what was written under another name is given the lock's.
 * @param {string} lock
 * @param {string} text
 */
function create(lock, text) {
  const draft = `${lock}.${randomUUID()}`;
  writeFileSync(draft, text);
  try {
    linkSync(draft, lock);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Takes a dead owner's lock away. Where another process was faster and it is that one's lock by now, it is put back.
 * @param {string} lock
 * @param {string} text
 */
function setAside(lock, text) {
  const aside = `${lock}.${randomUUID()}`;
  try {
    renameSync(lock, aside);
  } catch {
    return; // it is gone already
  }
  try {
    if (read(aside) !== text) linkSync(aside, lock);
  } catch {
    // A third one has it.
  }
  rmSync(aside, { force: true });
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/**
 * @param {string} text
 * @returns {{ host: string, pid: number, began: string | null } | null}
 */
function readOwner(text) {
  try {
    const { host, pid, began = null } = JSON.parse(text);
    return typeof host === "string" && Number.isSafeInteger(pid) ? { host, pid, began } : null;
  } catch {
    return null;
  }
}

/**
 * Another machine's processes cannot be seen, so that its locks are believed.
 * @param {{ host: string, pid: number, began: string | null }} owner
 */
function lives({ host, pid, began }) {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  return began === beganAt(pid);
}

/**
 * Field 22 of /proc/PID/stat, which tells a process from a later one with its number; null where there is no /proc.
 * @param {number} pid
 */
function beganAt(pid) {
  const stat = read(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}
