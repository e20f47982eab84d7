// What transformers says of results, and which modules LLM Compressor quantizes of the same checkpoints.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Fixture, Found, Opened } from "./fixture.ts";

interface Row extends Opened {
  readonly name: string;
}

/** @param python of an environment with transformers, compressed-tensors and llmcompressor */
export function openResults(python: string, fixtures: readonly Fixture[], out: string): Found<Opened> {
  const script = join(import.meta.dirname, "open_results.py");
  const triples = fixtures.map(({ name, folder }) => [name, folder, join(out, name)].join("="));
  const { stdout, stderr } = spawnSync(python, [script, ...triples], {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  const rows = stdout
    .split("\n")
    .filter((line) => line.startsWith('{"name"'))
    .map((line) => JSON.parse(line) as Row);
  if (rows.length === 0) throw new Error(`${python} opened nothing: ${stderr.slice(-2000)}`);
  return new Map(rows.map((row) => [row.name, row]));
}
