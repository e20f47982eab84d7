// The processes that started a command, which may end without it. Plain JavaScript without dependencies, because commands note them
// down before anything else: whoever ended while packages, a build or a browser were made ready is missed as well.

import { readFileSync } from "node:fs";

/** The processes between npm and this one, npm included: it starts scripts in a shell, which may outlive it. */
export function npmParents() {
  const parent = process.ppid;
  const stat = readStat(parent);
  const isShell = /^\d+ \((ba|da|z|k)?sh\)/.test(stat);
  return isShell ? `${parent} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]}` : String(parent);
}

/**
 * What Linux says of a process; empty elsewhere, and of one that has ended.
 * @param {number} pid
 */
function readStat(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return "";
  }
}

/** Those that the command began with. */
export const FIRST_PARENTS = npmParents();
