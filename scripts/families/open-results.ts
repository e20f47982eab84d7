// What transformers says of results, and which modules LLM Compressor quantizes of the same checkpoints.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { UsageError } from "../cli/arguments/argument-readers.ts";
import type { Fixture, Opened } from "./fixture.ts";
import type { Tell } from "./resume.ts";

interface Row extends Opened {
  readonly name: string;
}

/**
 * Tells of each checkpoint's result in `out`.
 *
 * @param python of an environment with transformers, compressed-tensors and llmcompressor
 * @throws UsageError if it does not start, or with what it said as it ended before all were opened
 */
export async function openResults(
  python: string,
  fixtures: readonly Fixture[],
  out: string,
  tell: Tell<Opened>,
): Promise<void> {
  const script = join(import.meta.dirname, "open_results.py");
  const triples = fixtures.map(({ name, folder }) => [name, folder, join(out, name)].join("="));
  const child = spawn(python, [script, ...triples], { stdio: ["ignore", "pipe", "pipe"] });
  await once(child, "spawn").catch((error: unknown) => {
    throw new UsageError(`--transformers: ${python} does not start.`, { cause: error });
  });
  const ended = once(child, "close");
  let said = "";
  child.stderr.on("data", (chunk) => (said = `${said}${chunk}`.slice(-2000)));
  let left = fixtures.length;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{"name"')) continue;
    const { name, ...opened } = JSON.parse(line) as Row;
    console.log(`  ${name}: ${opened.detail}; ${opened.set}; ${opened.replayed}`);
    tell(name, opened);
    left--;
  }
  await ended;
  if (left > 0)
    throw new UsageError(`--transformers: ${python} left ${left} results unopened and ended with: ${said}`);
}
