// What a plan says of bits per weight, what the done job says, what is measured and what a later inspection says: one figure.

import { expect, it } from "vitest";
import type { SourceApi } from "../../api/source-api.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { JobChanges } from "../../testing/jobs/asked-job.ts";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import { openModel } from "../inspect/open-model.ts";
import type { RemoteSource } from "../inspect/remote-source.ts";
import { openStoredModel } from "./open-stored-model.ts";

const ROUNDED = { name: "QuantizationModifier" } as const;

function sourceOf(files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): SourceApi {
  const read = async ({ path, start, end }: FileRange) =>
    await Promise.resolve((files.get(path) ?? new Uint8Array()).slice(start, end));
  const listed = Array.from(files, ([path, { byteLength: bytes }]) => ({ path, bytes }));
  return {
    open: async () => await Promise.resolve({ label: "result", name: "result", key: "k", files: listed }),
    readFile: async (path: string) => await Promise.resolve(files.get(path)),
    read,
    readRange: read,
  } as unknown as SourceApi;
}

/** The job's figure, that of an evaluation of its result, and that of inspecting it. */
async function figures(name: string, scheme: string, changes: JobChanges) {
  const job = await planFixture(name, scheme, ROUNDED, changes);
  const machine = job.machine();
  const made = await machine.run();
  const source = sourceOf(machine.files());
  const none = { kind: "files", files: [] } as const;
  const { summary } = await openStoredModel(source, none, null);
  const { quantization } = (await openModel(source as unknown as RemoteSource, none, null)).summary;
  return [made.bitsPerWeight, summary.bitsPerWeight, quantization?.bitsPerWeight];
}

it.each([
  ["llama", "W4A16", { groupSize: 32 }],
  ["llama", "W4A16", { groupSize: 32, ignore: ["lm_head", "re:.*layers.0.*"] }],
  ["qwen3", "W8A8", { ignore: [] }],
  ["phi3", "W8A8", { ignore: ["lm_head", "re:.*o_proj"] }],
  ["qwen3-moe", "W8A8", { ignore: ["lm_head", "re:.*self_attn.*"] }],
  ["gpt-oss", "W8A8", { ignore: ["lm_head"] }],
  ["deepseek-v3", "W8A8", { ignore: ["lm_head", "re:.*down_proj"] }],
  ["gpt-neox", "W8A8", { ignore: ["embed_out"] }],
] as const)("is one figure of %s in %s with %j", async (name, scheme, changes) => {
  const [planned, measured, inspected] = await figures(name, scheme, changes);
  expect(measured).toBe(planned);
  expect(inspected).toBe(planned);
});

it("counts what a recipe leaves alone in the layers, and outside of them only what it quantizes", async () => {
  const [all = 0] = await figures("llama", "W8A8", {});
  const [half = 0] = await figures("llama", "W8A8", { ignore: ["lm_head", "re:.*layers.0.*"] });
  const [withoutHead = 0] = await figures("qwen3", "W8A8", {});
  const [withHead = 0] = await figures("qwen3", "W8A8", { ignore: [] });
  // A scale of two bytes a row, for eight bits a weight.
  expect(all).toBeGreaterThan(8);
  expect(all).toBeLessThan(8.6);
  expect(half).toBeCloseTo((all + 16) / 2, 6);
  expect(withoutHead).toBeLessThan(8.6);
  expect(withHead).not.toBe(withoutHead);
  expect(withHead).toBeLessThan(8.6);
});
