// Every preset, and what recipes can ask for beyond them, byte for byte as LLM Compressor writes it.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import digests from "../../e2e/fixtures/golden/digests.json";
import sourceUrl from "../../e2e/fixtures/golden/source/model.safetensors?url";
import type { Gpu } from "../gpu/gpu.ts";
import { parseRecipe } from "../plan/parse-recipe.ts";
import { planOutput } from "../plan/plan-output.ts";
import { planSteps } from "../plan/plan-steps.ts";
import {
  castFile,
  type GoldenDigests,
  goldenDtype,
  type GoldenRecipe,
  goldenYaml,
  type MemoryFile,
  openMemoryFile,
  sha256,
  tensorOf,
} from "../testing/golden.ts";
import { openTestGpu, type TestGpu } from "../testing/open-test-gpu.ts";
import { copyTensors, writeShape } from "./copy-tensors.ts";
import { planTiling } from "./plan-tiling.ts";
import { TilePipeline, type TileTraffic } from "./tile-pipeline.ts";

const BUDGET_BYTES = 48 * 1024 ** 2;
const { recipes }: GoldenDigests = digests as unknown as GoldenDigests;

let test: TestGpu;
let source: MemoryFile;
beforeAll(async () => {
  test = await openTestGpu();
  source = openMemoryFile(new Uint8Array(await (await fetch(sourceUrl)).arrayBuffer()));
});
afterAll(() => test[Symbol.dispose]());

/** Runs the data-free path from a file in memory to a file in memory. */
async function compressFile(
  gpu: Gpu,
  from: MemoryFile,
  yaml: string,
  budgetBytes: number,
): Promise<MemoryFile> {
  const tensors = from.entries.map((entry) => ({ ...entry, file: "model.safetensors" }));
  const plan = planSteps(tensors, parseRecipe(yaml));
  const [shard] = planOutput(plan).shards;
  if (!shard) throw new Error("no shard");
  const bytes = new Uint8Array(shard.fileBytes);
  bytes.set(shard.header);
  const places = new Map(shard.entries.map((entry) => [entry.name, entry.start]));
  const traffic: TileTraffic = {
    read: async ({ start, end }) => await Promise.resolve(from.bytes.slice(start, end)),
    write: (tensor, offset, part) => bytes.set(part, (places.get(tensor) ?? Number.NaN) + offset),
    checkpoint: async () => await Promise.resolve(),
    finished: () => undefined,
  };
  const tasks = plan.steps.flatMap((step) => step.quantize);
  using tiles = await TilePipeline.create(gpu, planTiling(tasks, budgetBytes));
  for (const task of tasks) writeShape(task, traffic);
  for (const step of plan.steps) {
    await Promise.all([tiles.run(step.quantize, traffic), copyTensors(step.copy, traffic)]);
  }
  return { bytes, entries: shard.entries };
}

/** First hex digits of the digests of all tensors of quantized modules. */
async function digestsOf(result: MemoryFile): Promise<Record<string, string>> {
  const quantized = result.entries.filter(({ name }) => name.includes("_proj."));
  const pairs = quantized.map(
    async ({ name }) => [name, (await sha256(tensorOf(result, name))).slice(0, 16)] as const,
  );
  return Object.fromEntries(await Promise.all(pairs));
}

/** Weights are packed where LLM Compressor writes a byte for each, which vLLM's kernel for this preset cannot load. */
const PACKED_HERE = "W4AFP8";
const names = Object.keys(recipes).filter((name) => name !== PACKED_HERE);
/** Searching observers run over the weights some forty or two hundred times: one module has to do. */
const searching = names.filter((name) => /MSE|EXPANDED/.test(name));
const SEARCHED = "model.layers.0.self_attn.o_proj";

describe("the result", () => {
  it.each(names.filter((name) => !searching.includes(name)))(
    "of %s is LLM Compressor's, byte for byte",
    async (name) => {
      const golden = goldenRecipe(name);
      const from = castFile(source, goldenDtype(golden));
      const result = await compressFile(test.gpu, from, goldenYaml(golden), BUDGET_BYTES);
      expect(await digestsOf(result)).toEqual(golden.tensors);
      expect(await sha256(result.bytes)).toBe(golden.file);
    },
  );

  it.each(searching)("of %s is LLM Compressor's, tensor for tensor", async (name) => {
    const golden = goldenRecipe(name);
    const from = castFile(onlyModule(source, SEARCHED), goldenDtype(golden));
    const result = await compressFile(test.gpu, from, goldenYaml(golden), BUDGET_BYTES);
    const expected = Object.entries(golden.tensors).filter(([tensor]) => tensor.startsWith(`${SEARCHED}.`));
    expect(await digestsOf(result)).toEqual(Object.fromEntries(expected));
  });

  it("of W4AFP8 has the tensors of W4A16", async () => {
    const result = await compressFile(test.gpu, source, goldenYaml(goldenRecipe(PACKED_HERE)), BUDGET_BYTES);
    expect(await digestsOf(result)).toEqual(goldenRecipe("W4A16").tensors);
  });
});

function goldenRecipe(name: string): GoldenRecipe {
  const golden = recipes[name];
  if (!golden) throw new Error(`no recipe ${name}`);
  return golden;
}

function onlyModule(file: MemoryFile, module: string): MemoryFile {
  return { ...file, entries: file.entries.filter(({ name }) => name.startsWith(`${module}.`)) };
}
