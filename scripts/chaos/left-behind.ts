// What a command leaves behind: processes that it or its browser started, and temporary files.

import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A browser whose command is gone notices it within this time. */
const GRACE_MS = 10_000;
const LOOK_MS = 250;

/** Processes seen below a command, told from later ones with their numbers by when they began. */
export interface Watch extends Disposable {
  /** Those that still live after a time of grace; they are killed then. */
  living(): Promise<string[]>;
}

/** Watches the processes below one until disposed. */
export function watchProcesses(pid: number): Watch {
  const seen = new Map<number, string>();
  const look = () => {
    for (const each of descendants(pid)) {
      const began = statOf(each)?.[19];
      if (began !== undefined) seen.set(each, began);
    }
  };
  const timer = setInterval(look, LOOK_MS);
  look();
  const alive = () => [...seen].filter(([each, began]) => lives(each, began)).map(([each]) => each);
  return {
    async living() {
      const end = performance.now() + GRACE_MS;
      while (alive().length > 0 && performance.now() < end) await delay(LOOK_MS);
      const left = alive().map((each) => [each, kindOf(each)] as const);
      for (const [each] of left) kill(each);
      return left.map(([, kind]) => kind);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** A process that has ended and that nobody has asked for its status is none. */
function lives(pid: number, began: string): boolean {
  const stat = statOf(pid);
  return stat?.[19] === began && stat[0] !== "Z" && stat[0] !== "X";
}

/** What runs the sources keeps for its next run, and means to. */
const CACHES = /^(tsx-|node-compile-cache)/;

/** Names in a folder of temporary files, which are deleted. */
export function takeTemporary(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => !CACHES.test(name));
  for (const name of names) rmSync(join(folder, name), { recursive: true, force: true });
  return names;
}

/** Processes below a process, by the system's table. */
export function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    const parent = /^\d+$/.test(entry) ? statOf(Number(entry))?.[1] : undefined;
    if (parent !== undefined) parents.set(Number(entry), Number(parent));
  }
  const below = (of: number): number[] =>
    [...parents].flatMap(([child, parent]) => (parent === of ? [child, ...below(child)] : []));
  return below(pid);
}

/** Fields of /proc/PID/stat from the third on: state, parent, …; null of a process that is gone. */
function statOf(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

export const BROWSER = "the browser";

/** What a process of the command is to its browser: "renderer", "utility network", or that itself. */
export function kindOf(pid: number): string {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    const [, type = BROWSER] = /--type=([\w-]+)/.exec(line) ?? [];
    const [, service] = /--utility-sub-type=(\w+)/.exec(line) ?? [];
    return service === undefined ? type : `${type} ${service}`;
  } catch {
    return "a process";
  }
}

export function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself in the meantime.
  }
}
