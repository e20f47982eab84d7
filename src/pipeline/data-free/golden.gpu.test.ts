// Every preset, and what recipes can ask for beyond them, byte for byte as LLM Compressor writes it.

import { quantizeStep } from "./quantize-set.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import digests from "../../../e2e/fixtures/golden/digests.json";
import sourceUrl from "../../../e2e/fixtures/golden/source/model.safetensors?url";
import { groupsOf, type Recipe } from "../../formats/recipe/recipe.ts";
import type { TensorEntry } from "../../formats/safetensors/safetensors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { quantizationConfig } from "../../package/quantization-config.ts";
import { createJointWork } from "../../joint-work.ts";
import { dequantizedTensors } from "../../plan/checkpoint/dequantized-tensors.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import type { OutputShard } from "../../formats/safetensors/shards.ts";
import { planOutput } from "../../plan/plan-output.ts";
import { planSteps } from "../../plan/plan-steps.ts";
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
} from "../../testing/fixtures/golden.ts";
import { openDroppedFile } from "../../testing/sources/dropped-source.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import { dequantizingSource } from "../inspect/dequantizing-source.ts";
import { planTiling } from "../../quantize/rtn/plan-tiling.ts";
import { TilePipeline } from "./tile-pipeline.ts";
import { type Verification, verifyResult } from "../result/verify-result.ts";
import type { TileTraffic } from "../job/traffic.ts";

const BUDGET_BYTES = 48 * 1024 ** 2;
const FILE = "model.safetensors";
const { recipes }: GoldenDigests = digests as unknown as GoldenDigests;

let test: TestGpu;
let source: MemoryFile;
beforeAll(async () => {
  test = await openTestGpu();
  source = openMemoryFile(new Uint8Array(await (await fetch(sourceUrl)).arrayBuffer()));
});
afterAll(() => test[Symbol.dispose]());

interface Planned {
  readonly from: MemoryFile;
  readonly plan: Verification["plan"];
  readonly shard: OutputShard;
  readonly config: string;
}

interface Compressed extends Planned, MemoryFile {}

function planFile(from: MemoryFile, yaml: string): Planned {
  const tensors = from.entries.map((entry) => ({ ...entry, file: FILE }));
  const recipe = parseRecipe(yaml);
  const plan = planSteps(tensors, recipe);
  const output = planOutput(plan);
  const [shard] = output.shards;
  if (!shard) throw new Error("no shard");
  return { from, plan: { ...plan, output }, shard, config: configOf(recipe) };
}

const computed = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

/**
 * The result of a recipe, from a file in memory to a file in memory. Recipes that differ in nothing but their activations
 * have the same tasks, and the GPU works once for all of them.
 */
async function compressFile(from: MemoryFile, yaml: string): Promise<Compressed> {
  const planned = planFile(from, yaml);
  const { plan, shard } = planned;
  const tasks = plan.steps.map(({ quantize, copy }) => ({
    copy,
    quantize: quantize.map(({ tensor, weights, format, fusedWith, outputs }) => ({
      tensor,
      weights,
      format,
      fusedWith,
      outputs,
    })),
  }));
  const key = JSON.stringify({ tasks, header: [...shard.header] });
  const bytes = computed.get(key) ?? quantizeFile(test.gpu, planned);
  computed.set(key, bytes);
  return { ...planned, bytes: await bytes, entries: shard.entries };
}

/** Runs the data-free path. */
async function quantizeFile(gpu: Gpu, { from, plan, shard }: Planned): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(shard.fileBytes);
  bytes.set(shard.header);
  const places = new Map(shard.entries.map((entry) => [entry.name, entry.start]));
  const traffic: TileTraffic = {
    joint: createJointWork(),
    read: async ({ start, end }) => await Promise.resolve(from.bytes.slice(start, end)),
    write: (tensor, offset, part) => bytes.set(part, (places.get(tensor) ?? Number.NaN) + offset),
    checkpoint: async () => await Promise.resolve(),
    recycle: () => undefined,
    finished: () => undefined,
  };
  const tasks = plan.steps.flatMap((step) => step.quantize);
  using tiles = await TilePipeline.create(gpu, planTiling(tasks, BUDGET_BYTES));
  for (const task of tasks) writeShape(task, traffic);
  for (const step of plan.steps) {
    await Promise.all([quantizeStep(tiles, step.quantize, traffic), copyTensors(step.copy, traffic)]);
  }
  return bytes;
}

/** config.json of a result whose only unquantized Linear is lm_head. */
function configOf(recipe: Recipe): string {
  const facts = { groups: groupsOf(recipe), kv_cache_scheme: null, ignored: ["lm_head"] };
  return JSON.stringify({ quantization_config: quantizationConfig(facts) });
}

async function verify({ bytes, from, plan, config }: Compressed): Promise<void> {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    [FILE]: bytes,
    "config.json": new TextEncoder().encode(config),
  };
  await verifyResult({
    plan,
    readResult: async ({ path, start, end }) =>
      await Promise.resolve(files[path]?.slice(start, end) ?? new Uint8Array()),
    folds: new Map(),
    resultBytes: async (path) => await Promise.resolve(files[path]?.byteLength ?? 0),
    readSource: async ({ start, end }) => await Promise.resolve(from.bytes.slice(start, end)),
    checkpoint: async () => await Promise.resolve(),
  });
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

/** First hex digits of the digests of all quantized weights as they are read back, in bfloat16. */
async function dequantizedDigests({ config, entries, bytes }: Compressed): Promise<Record<string, string>> {
  const dropped = await openDroppedFile(FILE, bytes);
  const { modules } = await dequantizedTensors({
    label: "the result",
    tensors: entries.map((entry) => ({ ...entry, file: FILE })),
    config: JSON.parse(config) as Record<string, unknown>,
    method: "compressed-tensors",
    read: async ({ file: path, start, end }) => await dropped.read({ path, start, end }),
  });
  const stored = dequantizingSource(dropped, modules);
  const pairs = [...modules].map(async ([path, { weight, found }]) => {
    const weightBytes = await stored.read({ path, start: 0, end: weight.rows * weight.columns * 2 });
    return [found.module, (await sha256(weightBytes)).slice(0, 16)] as const;
  });
  return Object.fromEntries(await Promise.all(pairs));
}

const names = Object.keys(recipes).filter((name) => name !== PACKED_HERE);
/** Searching observers run over the weights some forty or two hundred times: one module has to do. */
const searching = names.filter((name) => /MSE|EXPANDED/.test(name));
/** The smallest that shares no global scale. */
const searchedIn = (name: string) =>
  name.startsWith("NVFP4") ? "model.layers.0.self_attn.o_proj" : "model.layers.0.self_attn.k_proj";

/** Weights of another dtype are widened by other code, and then go the same way: one layer of the two has to do. */
const cast = names.filter((name) => !searching.includes(name) && goldenDtype(goldenRecipe(name)) !== "BF16");
const entire = names.filter((name) => !searching.includes(name) && !cast.includes(name));

/** The verified result of a recipe for the source's tensors below a module, and the digests that they should have. */
async function compressBelow(name: string, module: string) {
  const golden = goldenRecipe(name);
  const from = castFile(onlyModule(source, module), goldenDtype(golden));
  const result = await compressFile(from, goldenYaml(golden));
  const expected = Object.entries(golden.tensors).filter(([tensor]) => tensor.startsWith(`${module}.`));
  await verify(result);
  return { result, expected: Object.fromEntries(expected) };
}

describe("the result", () => {
  it.each(entire)("of %s is LLM Compressor's, byte for byte", async (name) => {
    const golden = goldenRecipe(name);
    const from = castFile(source, goldenDtype(golden));
    const result = await compressFile(from, goldenYaml(golden));
    expect(await digestsOf(result)).toEqual(golden.tensors);
    expect(await sha256(result.bytes)).toBe(golden.file);
    expect(await dequantizedDigests(result)).toEqual(golden.dequantized);
    await verify(result);
  });

  it.each(cast)("of %s is LLM Compressor's in a layer, tensor for tensor", async (name) => {
    const { result, expected } = await compressBelow(name, "model.layers.0");
    expect(await digestsOf(result)).toEqual(expected);
    const dequantized = Object.entries(goldenRecipe(name).dequantized).filter(([module]) =>
      module.startsWith("model.layers.0."),
    );
    expect(await dequantizedDigests(result)).toEqual(Object.fromEntries(dequantized));
  });

  it.each(searching)("of %s is LLM Compressor's, tensor for tensor", async (name) => {
    const { result, expected } = await compressBelow(name, searchedIn(name));
    expect(await digestsOf(result)).toEqual(expected);
  });

  it("of W4AFP8 has the tensors of W4A16", async () => {
    const result = await compressFile(source, goldenYaml(goldenRecipe(PACKED_HERE)));
    expect(await digestsOf(result)).toEqual(goldenRecipe("W4A16").tensors);
  });

  describe("is refused when it was damaged:", () => {
    let whole: Compressed;
    beforeAll(async () => {
      whole = await compressFile(source, goldenYaml(goldenRecipe("W4A16")));
    });

    const down = "model.layers.1.mlp.down_proj";
    it.each([
      ["codes", `${down}.weight_packed`, /down_proj: the weight at row \d+, column \d+, reads back as/],
      ["scales", `${down}.weight_scale`, /down_proj: the weight at row/],
      ["a norm", "model.norm.weight", /model\.norm\.weight was to be carried through, but its byte/],
    ])("%s", async (_, name, message) => {
      const { start, end } = entryOf(whole, name);
      const bytes = whole.bytes.slice();
      for (let at = start; at < end; at++) bytes[at] = (bytes[at] ?? 0) ^ 0x48;
      await expect(verify({ ...whole, bytes })).rejects.toThrow(message);
    });

    it("a file cut off", async () => {
      const bytes = whole.bytes.slice(0, -1);
      await expect(verify({ ...whole, bytes })).rejects.toThrow(/model\.safetensors has \d+ bytes where/);
    });

    it("config.json that ignores a quantized module", async () => {
      const config = whole.config.replace('"lm_head"', `"lm_head","${down}"`);
      await expect(verify({ ...whole, config })).rejects.toThrow(/down_proj\.weight_scale is stored, but/);
    });

    it("config.json that ignores too little", async () => {
      const config = whole.config.replace('"lm_head"', "");
      await expect(verify({ ...whole, config })).rejects.toThrow(/lm_head\.weight is not quantized, but/);
    });

    it("config.json with another group size", async () => {
      const config = whole.config.replace('"group_size":128', '"group_size":64');
      await expect(verify({ ...whole, config })).rejects.toThrow(/weight_scale is BF16 \[/);
    });
  });
});

function entryOf(file: MemoryFile, name: string): TensorEntry {
  const entry = file.entries.find((candidate) => candidate.name === name);
  if (!entry) throw new Error(`no tensor ${name}`);
  return entry;
}

function goldenRecipe(name: string): GoldenRecipe {
  const golden = recipes[name];
  if (!golden) throw new Error(`no recipe ${name}`);
  return golden;
}

function onlyModule(file: MemoryFile, module: string): MemoryFile {
  return { ...file, entries: file.entries.filter(({ name }) => name.startsWith(`${module}.`)) };
}
