// `npm run compress` as a process of its own, with what it says and when, and ways to hurt it.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { descendants, kill, kindOf, watchProcesses } from "./left-behind.ts";

const ROOT = join(import.meta.dirname, "../..");

export interface Ended {
  /** Null if the process was killed, or did not end in time. */
  readonly status: number | null;
  readonly hung: boolean;
  readonly seconds: number;
  /** When it first said that it waits for a server, and when it ended, by `performance.now()`. */
  readonly waitedAt: number | null;
  readonly endedAt: number;
  /** The last line of JSON, or null. */
  readonly outcome: {
    readonly ok: boolean;
    readonly error?: { readonly name: string; readonly message: string };
  } | null;
  readonly said: string;
  /** Kinds of its processes that outlived it. */
  readonly left: readonly string[];
}

export interface Command {
  readonly pid: number;
  readonly ended: Promise<Ended>;
}

export interface CommandOptions {
  readonly source: string;
  readonly out: string;
  readonly recipe: readonly string[];
  /** Where its temporary files go. */
  readonly temporary: string;
  /** What takes longer hangs, and is killed. */
  readonly limitMs: number;
}

/** Starts the command in a process group of its own. */
export function startCommand({ source, out, recipe, temporary, limitMs }: CommandOptions): Command {
  const args = ["scripts/compress.mjs", source, "--out", out, ...recipe, "--json"];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: temporary },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { pid: child.pid ?? 0, ended: follow(child, limitMs) };
}

async function follow(child: ChildProcess, limitMs: number): Promise<Ended> {
  using watch = watchProcesses(child.pid ?? 0);
  const started = performance.now();
  let said = "";
  let waitedAt: number | null = null;
  const hear = (data: Buffer) => {
    said += data.toString();
    if (waitedAt === null && /^waiting (\d|for )/m.test(said)) waitedAt = performance.now();
  };
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    killAll(child.pid ?? 0);
  }, limitMs);
  // Its pipes may stay open as long as a process that it left behind lives: what counts is its own end.
  const closed = once(child, "close");
  const [status] = (await once(child, "exit")) as [number | null];
  const endedAt = performance.now();
  clearTimeout(timer);
  const left = await watch.living();
  await closed;
  return {
    status: hung ? null : status,
    hung,
    seconds: (endedAt - started) / 1000,
    waitedAt,
    endedAt,
    outcome: outcomeOf(said),
    said,
    left,
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
  for (const each of [pid, ...descendants(pid)]) kill(each);
}

/**
 * Kills one process of the tree: the command itself, or one of its browser's.
 * @param random from 0 to 1, says which
 * @returns what was killed, for the report
 */
export function killOne(pid: number, random: number): string {
  const kinds = processesOf(pid);
  const [name, chosen] = [...kinds][Math.floor(random * kinds.size)] ?? ["the command", pid];
  kill(chosen);
  return name;
}

/** The first process of each kind. */
export function processesOf(pid: number): Map<string, number> {
  const kinds = new Map([["the command", pid]]);
  for (const each of descendants(pid)) {
    const kind = kindOf(each);
    // Zygotes only wait to become something else.
    if (kind !== "zygote" && !kinds.has(kind)) kinds.set(kind, each);
  }
  return kinds;
}
