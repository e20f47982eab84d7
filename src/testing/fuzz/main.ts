// `npm run fuzz -- [--inputs N] [--seed N] [--target NAME]`: rounds of a thousand inputs for each target until N were done.

import { setImmediate } from "node:timers/promises";
import { parseArgs } from "node:util";
import { fuzzTarget } from "./fuzz-target.ts";
import { FUZZ_TARGETS } from "./targets.ts";

const ROUND = 1000;

const USAGE = "npm run fuzz -- [--inputs N] [--seed N] [--target NAME]";

interface Wanted {
  readonly inputs: number;
  readonly seed: number;
  readonly targets: typeof FUZZ_TARGETS;
}

/** @throws an Error with a sentence about an option that makes no sense */
function readWanted(): Wanted {
  const { values } = parseArgs({
    options: {
      inputs: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Date.now() % 2 ** 31) },
      target: { type: "string" },
    },
  });
  const [inputs, seed] = [Number(values.inputs), Number(values.seed)];
  if (!Number.isSafeInteger(inputs) || inputs < 1) throw new Error("--inputs wants a count of inputs.");
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error("--seed wants a whole number.");
  const targets = FUZZ_TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
  if (targets.length > 0) return { inputs, seed, targets };
  throw new Error(`--target wants one of ${FUZZ_TARGETS.map(({ name }) => name).join(", ")}.`);
}

/** What nobody awaited, since it was taken last. */
let unhandled: { readonly reason: unknown } | null = null;
process.on("unhandledRejection", (reason) => (unhandled ??= { reason }));

async function lost(): Promise<{ readonly reason: unknown } | null> {
  await setImmediate();
  const taken = unhandled;
  unhandled = null;
  return taken;
}

async function fuzz({ inputs: count, seed: first, targets }: Wanted): Promise<number> {
  const failures: string[] = [];
  let done = 0;
  for (let seed = first; done < count; seed++) {
    for (const target of targets) {
      const inputs = Math.min(ROUND, count - done);
      const result = await fuzzTarget(target, { seed, inputs, measured: true, lost });
      done += result.inputs;
      if (result.failure !== null) {
        failures.push(result.failure);
        process.stdout.write(`${result.failure}\n`);
      }
      if (done >= count) break;
    }
    process.stdout.write(`seed ${seed}: ${done} of ${count} inputs, ${failures.length} failures\n`);
  }
  return failures.length > 0 ? 1 : 0;
}

function wantedOrUsage(): Wanted | null {
  try {
    return readWanted();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    return null;
  }
}

const asked = wantedOrUsage();
process.exitCode = asked === null ? 2 : await fuzz(asked);
