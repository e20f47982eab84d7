// Measured scales of activations and of the key-value cache against LLM Compressor's, which runs the model in bfloat16.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import calibrated from "../../../e2e/fixtures/golden/calibrated.json";
import sourceConfig from "../../../e2e/fixtures/golden/source/config.json";
import sourceUrl from "../../../e2e/fixtures/golden/source/model.safetensors?url";
import { makeBatches } from "../../calibrate/batches.ts";
import { forwardLayer } from "../../calibrate/forward/forward-layer.ts";
import { openActivationRanges } from "../../calibrate/ranges/activation-ranges.ts";
import { ReadbackRing } from "../../gpu/staging.ts";
import { kvCacheScheme } from "../../formats/recipe.ts";
import { widenToFloat32 } from "../../formats/dtype.ts";
import { parseRecipe } from "../../plan/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import type { ArchitectureFixture } from "../../testing/architecture-fixture.ts";
import { type MemoryFile, openMemoryFile, tensorOf } from "../../testing/golden.ts";
import { openDecoder } from "../../testing/open-decoder.ts";
import { openTestGpu, type TestGpu } from "../../testing/open-test-gpu.ts";
import { cacheNames, inputName, staticScales } from "./static-scales.ts";
import { observeCache, writeStaticScales } from "../sequential/measure-scales.ts";

/** Two steps of bfloat16: activations that were rounded after every operation may peak so much higher or lower. */
const TOLERANCE = 2 * 2 ** -7;
const cache = "kv_cache_scheme: {num_bits: 8, type: float, dynamic: false, strategy: tensor}";
const widest =
  "kv_cache_scheme: {num_bits: 8, type: float, dynamic: false, observer: static_minmax, strategy: ";
const RECIPES = {
  fp8: "scheme: FP8",
  nvfp4: "scheme: NVFP4",
  "kv-cache-fp8": `scheme: FP8_DYNAMIC, ${cache}`,
  "kv-cache-alone": `${widest} tensor}`,
  "kv-cache-heads": `${widest} attn_head}`,
};

let test: TestGpu;
let source: MemoryFile;
beforeAll(async () => {
  test = await openTestGpu();
  source = openMemoryFile(new Uint8Array(await (await fetch(sourceUrl)).arrayBuffer()));
});
afterAll(() => test[Symbol.dispose]());

function fixtureOf(file: MemoryFile): ArchitectureFixture {
  const ids = calibrated.input_ids;
  const bytes = new Uint8Array(BigInt64Array.from(ids.flat(), BigInt).buffer);
  const shape = [ids.length, ids[0]?.length ?? 0];
  return {
    config: sourceConfig,
    tensors: new Map(
      file.entries.map((entry) => [entry.name, { ...entry, bytes: tensorOf(file, entry.name) }]),
    ),
    reference: new Map([["input_ids", { dtype: "I64", shape, bytes }]]),
  };
}

/** The measured scales of every layer, by tensor. */
async function measure(recipeText: string): Promise<Record<string, number[]>> {
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {QuantizationModifier: {ignore: [lm_head], ${recipeText}}}}`,
  );
  const plan = planSteps(
    source.entries.map((entry) => ({ ...entry, file: "model.safetensors" })),
    recipe,
    sourceConfig.num_key_value_heads,
  );
  using decoder = await openDecoder(test, fixtureOf(source), { mlpTokens: 500 });
  using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
  const lengths = calibrated.input_ids.map((ids) => ids.length);
  const [batch] = makeBatches(lengths, Number.POSITIVE_INFINITY);
  const found: Record<string, number[]> = {};
  for (const layer of decoder.description.layers) {
    const step = plan.steps.find(({ name }) => name === layer.name);
    if (!step || !batch) throw new Error("a step for each layer, and one batch");
    const scales = staticScales(layer, step, kvCacheScheme(recipe));
    const names = [...new Set(scales.flatMap(({ observed }) => observed))];
    using ranges = await openActivationRanges(test.gpu, names, lengths.length);
    ranges.begin(batch);
    const hooks = {
      onInput: async (modules: readonly string[], input: Parameters<typeof ranges.observe>[1]) =>
        await ranges.observe(inputName(modules), input),
      onKeyValue: async (module: string, ...[keys, values]: Parameters<typeof ranges.observe>[1][]) => {
        const { kvHeads } = layer.attention;
        if (keys) await observeCache(ranges, cacheNames(module).k, keys, kvHeads);
        if (values) await observeCache(ranges, cacheNames(module).v, values, kvHeads);
      },
    };
    await forwardLayer({ ...decoder.pass, hooks }, layer, decoder.hidden);
    await writeStaticScales(scales, ranges, readbacks, (tensor, _, bytes) => {
      found[tensor] = [...widenToFloat32(tensor.endsWith("global_scale") ? "F32" : "BF16", bytes)];
    });
  }
  return found;
}

describe("measured scales", () => {
  // The widest of 16 sequences is one in which the anchor's rounding widened it; fewer of these are equal to the bit.
  it.each([
    ["fp8", 0.7],
    ["nvfp4", 0.7],
    ["kv-cache-fp8", 0.7],
    ["kv-cache-alone", 0.25],
    ["kv-cache-heads", 0.25],
  ] as const)("of %s are LLM Compressor's", async (name, equalShare) => {
    const scales: Record<string, number | number[]> = calibrated.scales[name];
    const found = await measure(RECIPES[name]);
    expect(Object.keys(found).toSorted()).toEqual(Object.keys(scales));
    const expected = Object.entries(scales).map(([tensor, value]) => [tensor, [value].flat()] as const);
    const pairs = expected.flatMap(([tensor, values]) => {
      expect(found[tensor]).toHaveLength(values.length);
      return values.map((value, index) => [found[tensor]?.[index] ?? 0, value] as const);
    });
    for (const [own, scale] of pairs) expect(Math.abs(own / scale - 1)).toBeLessThan(TOLERANCE);
    const equal = pairs.filter(([own, scale]) => own === scale);
    expect(equal.length).toBeGreaterThanOrEqual(pairs.length * equalShare);
  });
});
