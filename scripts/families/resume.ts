// Findings in a file, so that a run that was ended goes on where it was.

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { Fixture, Found } from "./fixture.ts";

/** Called once with what was found of a checkpoint, or with the sentence that it ended with. */
export type Tell<Value> = (name: string, value: Value | string) => void;

/**
 * What `file` holds of the checkpoints, and of the rest what `measure` tells, which is added to it: a line of JSON for each.
 */
export async function resume<Value>(
  file: string,
  fixtures: readonly Fixture[],
  measure: (rest: readonly Fixture[], tell: Tell<Value>) => Promise<void>,
): Promise<Found<Value>> {
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  const found = new Map(lines.map((line) => JSON.parse(line) as [string, Value | string]));
  const rest = fixtures.filter(({ name }) => !found.has(name));
  if (rest.length > 0)
    await measure(rest, (name, value) => {
      found.set(name, value);
      appendFileSync(file, `${JSON.stringify([name, value])}\n`);
    });
  return found;
}
