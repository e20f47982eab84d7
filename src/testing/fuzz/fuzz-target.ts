// Runs a target on many inputs: whatever comes in, only errors of ours come out, soon, and without much memory.

import * as fc from "fast-check";
import { LayerpressError } from "../../errors.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Inputs, and the call that each is given to. */
  readonly runs: fc.Arbitrary<FuzzRun>;
}

export interface FuzzRun {
  /** What a report shows of the input. */
  readonly shown: unknown;
  readonly run: () => unknown;
}

const MAX_MILLISECONDS = 1000;
const MAX_BYTES = 256 * 1024 ** 2;

export interface FuzzOptions {
  readonly seed: number;
  readonly inputs: number;
  /** Times and memory are measured too: not in tests, whose machine may be busy. */
  readonly measured: boolean;
  /** Waits for a turn of the loop; then the reason of a promise that was rejected and that nobody awaits, or null. */
  readonly lost?: () => Promise<{ readonly reason: unknown } | null>;
}

export interface FuzzResult {
  readonly inputs: number;
  /** What went wrong, with the smallest input found and the seed; null if nothing did. */
  readonly failure: string | null;
}

export async function fuzzTarget({ name, runs }: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const property = fc.asyncProperty(runs, async (input) => await check(input, options));
  const result = await fc.check(property, { seed: options.seed, numRuns: options.inputs });
  if (!result.failed) return { inputs: result.numRuns, failure: null };
  const [input] = result.counterexample ?? [];
  const shown = fc.stringify(input?.shown).slice(0, 2000);
  const error = result.errorInstance instanceof Error ? result.errorInstance : null;
  return {
    inputs: result.numRuns,
    failure: `${name}: ${error?.stack ?? "failed"}\n  seed ${result.seed}, path ${result.counterexamplePath}\n  input ${shown}`,
  };
}

async function check({ run }: FuzzRun, { measured, lost }: FuzzOptions): Promise<void> {
  const before = measured ? process.resourceUsage().maxRSS : 0;
  const started = process.cpuUsage();
  try {
    await run();
  } catch (error) {
    if (!(error instanceof LayerpressError)) throw error;
  }
  const left = await lost?.();
  if (left) throw new Error("left a promise that nobody awaits", { cause: left.reason });
  if (!measured) return;
  const { user, system } = process.cpuUsage(started);
  const milliseconds = (user + system) / 1000;
  if (milliseconds > MAX_MILLISECONDS)
    throw new Error(`took ${Math.round(milliseconds)} ms of the processor`);
  const bytes = (process.resourceUsage().maxRSS - before) * 1024;
  if (bytes > MAX_BYTES) throw new Error(`took ${bytes} bytes of memory`);
}

/** A target that gives each input to `run`. */
export function target<Input>(
  name: string,
  inputs: fc.Arbitrary<Input>,
  run: (input: Input) => unknown,
): FuzzTarget {
  return { name, runs: inputs.map((input) => ({ shown: input, run: () => run(input) })) };
}
