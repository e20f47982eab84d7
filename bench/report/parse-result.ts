import * as v from "valibot";
import type { BenchmarkResult } from "./result.ts";

const named = v.looseObject({ name: v.string(), failure: v.nullable(v.string()) });
/** What a comparison reads; the rest of the file is for people. */
const schema = v.looseObject({
  head: v.looseObject({
    adapter: v.looseObject({
      vendor: v.string(),
      architecture: v.string(),
      device: v.string(),
      description: v.string(),
    }),
    gpuClock: v.picklist(["timestamp-query", "wall"]),
    small: v.boolean(),
  }),
  ceilings: v.object({ flop: v.number(), byte: v.number() }),
  kernels: v.array(v.looseObject({ ...named.entries, unit: v.picklist(["flop", "byte"]), rate: v.number() })),
  endToEnd: v.array(
    v.looseObject({
      ...named.entries,
      figures: v.nullable(v.looseObject({ seconds: v.record(v.string(), v.number()) })),
    }),
  ),
});

/**
 * Reads a result file.
 * @throws Error with a sentence if it is none.
 */
export function parseResult(name: string, text: string): BenchmarkResult {
  const problem = (reason: string) => new Error(`${name} is not a result of the benchmark: ${reason}.`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw problem(`it is not valid JSON (${String(cause)})`);
  }
  const checked = v.safeParse(schema, json);
  if (checked.success) return checked.output as unknown as BenchmarkResult;
  const [issue] = checked.issues;
  throw problem(`${v.getDotPath(issue) ?? "its form"} is wrong (${issue.message})`);
}
