// `npm run compress` as a process of its own, with what it says and when, and ways to hurt it.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

export interface Ended {
  /** Null if the process was killed, or did not end in time. */
  readonly status: number | null;
  readonly hung: boolean;
  readonly seconds: number;
  /** Seconds until it said that it waits for a server; null if it never did. */
  readonly waitedAfter: number | null;
  /** The last line of JSON, or null. */
  readonly outcome: { readonly ok: boolean; readonly error?: { readonly message: string } } | null;
  readonly said: string;
}

export interface Command {
  readonly pid: number;
  readonly ended: Promise<Ended>;
}

export interface CommandOptions {
  readonly source: string;
  readonly out: string;
  readonly recipe: readonly string[];
  /** What takes longer hangs, and is killed. */
  readonly limitMs: number;
}

/** Starts the command in a process group of its own. */
export function startCommand({ source, out, recipe, limitMs }: CommandOptions): Command {
  const args = ["scripts/compress.mjs", source, "--out", out, ...recipe, "--json"];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { pid: child.pid ?? 0, ended: follow(child, limitMs) };
}

async function follow(child: ChildProcess, limitMs: number): Promise<Ended> {
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  let said = "";
  let waitedAfter: number | null = null;
  const hear = (data: Buffer) => {
    said += data.toString();
    if (waitedAfter === null && /waiting \d/.test(said)) waitedAfter = seconds();
  };
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    killAll(child.pid ?? 0);
  }, limitMs);
  const [status] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return {
    status: hung ? null : status,
    hung,
    seconds: seconds(),
    waitedAfter,
    outcome: outcomeOf(said),
    said,
  };
}

function outcomeOf(said: string): Ended["outcome"] {
  const line = said
    .trimEnd()
    .split("\n")
    .findLast((each) => each.startsWith('{"ok"'));
  return line === undefined ? null : (JSON.parse(line) as Ended["outcome"]);
}

/** Kills the command, its browser and all of their processes. */
export function killAll(pid: number): void {
  const all = [pid, ...descendants(pid)];
  for (const each of all) kill(each);
}

/**
 * Kills one process of the tree: the command itself, or one of its browser's.
 * @param random from 0 to 1, says which
 * @returns what was killed, for the report
 */
export function killOne(pid: number, random: number): string {
  const kinds = new Map([["the command", pid]]);
  for (const each of descendants(pid)) {
    const kind = kindOf(each);
    // Zygotes only wait to become something else.
    if (kind !== "zygote" && !kinds.has(kind)) kinds.set(kind, each);
  }
  const [name, chosen] = [...kinds][Math.floor(random * kinds.size)] ?? ["the command", pid];
  kill(chosen);
  return name;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself in the meantime.
  }
}

/** Processes below a process, by the system's table. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    const parent = /^\d+$/.test(entry) ? parentOf(entry) : null;
    if (parent !== null) parents.set(Number(entry), parent);
  }
  const below = (of: number): number[] =>
    [...parents].flatMap(([child, parent]) => (parent === of ? [child, ...below(child)] : []));
  return below(pid);
}

function parentOf(entry: string): number | null {
  try {
    const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return null;
  }
}

function kindOf(pid: number): string {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    return /--type=([\w-]+)/.exec(line)?.[1] ?? "the browser";
  } catch {
    return "a process";
  }
}
