// `npm run fuzz -- [--inputs N] [--seed N] [--target NAME]`: rounds of a thousand inputs for each target until N were done.

import { parseArgs } from "node:util";
import { fuzzTarget } from "./fuzz-target.ts";
import { FUZZ_TARGETS } from "./targets.ts";

const ROUND = 1000;

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    target: { type: "string" },
  },
});

// The reader of Parquet files leaves promises behind that nobody awaits; in a page their errors end in its console. What is
// awaited, counts.
process.on("unhandledRejection", () => undefined);

async function main(): Promise<number> {
  const wanted = Number(values.inputs);
  const targets = FUZZ_TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
  const failures: string[] = [];
  let done = 0;
  for (let seed = Number(values.seed); done < wanted && targets.length > 0; seed++) {
    for (const target of targets) {
      const inputs = Math.min(ROUND, wanted - done);
      const result = await fuzzTarget(target, { seed, inputs, measured: true });
      done += result.inputs;
      if (result.failure !== null) {
        failures.push(result.failure);
        process.stdout.write(`${result.failure}\n`);
      }
      if (done >= wanted) break;
    }
    process.stdout.write(`seed ${seed}: ${done} of ${wanted} inputs, ${failures.length} failures\n`);
  }
  return failures.length > 0 || done < wanted ? 1 : 0;
}

process.exitCode = await main();
