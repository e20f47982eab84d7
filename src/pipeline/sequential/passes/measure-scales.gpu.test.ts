// Measured scales of activations and of the key-value cache against LLM Compressor's, which runs the model in bfloat16.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import calibrated from "../../../../e2e/fixtures/golden/calibrated.json";
import sourceConfig from "../../../../e2e/fixtures/golden/source/config.json";
import sourceUrl from "../../../../e2e/fixtures/golden/source/model.safetensors?url";
import { collectorHooks } from "../../../calibrate/collector.ts";
import { makeBatches } from "../../../calibrate/batches.ts";
import { forwardLayer } from "../../../calibrate/forward/forward-layer.ts";
import {
  type ActivationRanges,
  openActivationRanges,
  type Range,
} from "../../../calibrate/ranges/activation-ranges.ts";
import { createLifetime } from "../../../disposal.ts";
import { ReadbackRing } from "../../../gpu/staging/readback-ring.ts";
import { kvCacheScheme } from "../../../formats/recipe/recipe.ts";
import { widenToFloat32 } from "../../../formats/numbers/dtype.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import { factsOf } from "../../../model/mixers/facts-of.ts";
import { parseRecipe } from "../../../plan/recipe/parse-recipe.ts";
import { planSteps } from "../../../plan/plan-steps.ts";
import type { ArchitectureFixture } from "../../../testing/fixtures/architecture-fixture.ts";
import { type MemoryFile, openMemoryFile, tensorOf } from "../../../testing/fixtures/golden.ts";
import { openDecoder } from "../../../testing/fixtures/open-decoder.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { type ReferenceLayer, referenceLayer } from "../../../testing/fixtures/reference-layer.ts";
import { cacheNames, headName, inputName, staticScales } from "../../calibration/layers/static-scales.ts";
import { rangeCollector, writeStaticScales } from "./measure-scales.ts";

/** Two steps of bfloat16: activations that were rounded after every operation may peak so much higher or lower. */
const TOLERANCE = 2 * 2 ** -7;
const cache = "kv_cache_scheme: {num_bits: 8, type: float, dynamic: false, strategy: tensor";
const widest =
  "kv_cache_scheme: {num_bits: 8, type: float, dynamic: false, observer: static_minmax, strategy: ";
/** Without an observer LLM Compressor takes `minmax`, an average that moves through all samples, in bfloat16. */
const averaged = "{num_bits: 8, type: float, dynamic: false, strategy: tensor}";
const averagedInputs = `config_groups: {g: {targets: [Linear], weights: {num_bits: 8, type: float, strategy: channel}, input_activations: ${averaged}}}`;
const RECIPES = [
  ["fp8", "scheme: FP8"],
  ["nvfp4", "scheme: NVFP4"],
  ["kv-cache-fp8", `scheme: FP8_DYNAMIC, ${cache}, observer: memoryless_minmax}`],
  ["kv-cache-average", `scheme: FP8_DYNAMIC, kv_cache_scheme: ${averaged}`],
  ["inputs-average", averagedInputs],
  ["kv-cache-alone", `${widest} tensor}`],
  ["kv-cache-heads", `${widest} attn_head}`],
] as const;

/** A layer whose inputs, keys and values were all observed, and the same by plain float64 loops. */
interface ObservedLayer {
  readonly layer: LayerDescription;
  readonly measured: ActivationRanges;
  readonly plain: ActivationRanges;
}

let source: MemoryFile;
let readbacks: ReadbackRing;
const observed: ObservedLayer[] = [];
const lifetime = createLifetime();
beforeAll(async () => {
  const test = lifetime.use(await openTestGpu());
  readbacks = lifetime.use(await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 }));
  source = openMemoryFile(new Uint8Array(await (await fetch(sourceUrl)).arrayBuffer()));
  observed.push(...(await observeLayers(test)));
});
afterAll(() => lifetime[Symbol.dispose]());

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

const LENGTHS = calibrated.input_ids.map((ids) => ids.length);
const TOKENS = LENGTHS.reduce((sum, length) => sum + length, 0);

/** Ranges in each sequence of what may be observed in a layer, by name. */
function referenceRanges(
  layer: LayerDescription,
  { inputs, cache: kept }: ReferenceLayer,
): Map<string, Range[]> {
  const found = new Map<string, Range[]>();
  const add = (name: string, matrix: Float64Array, first = 0, last = Infinity) => {
    const columns = matrix.length / TOKENS;
    let start = 0;
    const ranges = LENGTHS.map((length): Range => {
      const rows = matrix.subarray(start, (start += length * columns));
      const seen = rows.filter((_, at) => at % columns >= first && at % columns < last);
      const low = seen.reduce((least, value) => Math.min(least, value), 0);
      const high = seen.reduce((most, value) => Math.max(most, value), 0);
      return [low, high];
    });
    found.set(name, ranges);
  };
  for (const [module, matrix] of inputs) add(inputName([module]), matrix);
  const [facts] = layer.mixers.map(factsOf);
  if (!facts?.keyValueCache || !kept) throw new Error("the layer has keys and values");
  const { module, kvHeads } = facts.keyValueCache;
  const headDim = kept.keys.length / TOKENS / kvHeads;
  const names = cacheNames(module);
  for (const [name, matrix] of [
    [names.k, kept.keys],
    [names.v, kept.values],
  ] as const) {
    add(name, matrix);
    for (let head = 0; head < kvHeads; head++)
      add(headName(name, head), matrix, head * headDim, (head + 1) * headDim);
  }
  return found;
}

/** Runs the sequences through the model, on the GPU and in float64. */
async function observeLayers(test: TestGpu): Promise<ObservedLayer[]> {
  const fixture = fixtureOf(source);
  using decoder = await openDecoder(test, fixture, { mlpTokens: 500 });
  const [batch] = makeBatches(LENGTHS, Number.POSITIVE_INFINITY);
  if (!batch) throw new Error("one batch holds all sequences");
  const found: ObservedLayer[] = [];
  let hidden: ArrayLike<number> = decoder.states;
  for (const layer of decoder.description.layers) {
    const reference = referenceLayer(layer, fixture.tensors, hidden, LENGTHS);
    hidden = reference.output;
    const expected = referenceRanges(layer, reference);
    const ranges = lifetime.use(await openActivationRanges(test.gpu, [...expected.keys()], LENGTHS.length));
    const collector = rangeCollector(ranges);
    collector.begin?.(batch);
    const hooks = collectorHooks([collector]);
    await forwardLayer({ ...decoder.pass, hooks }, layer, decoder.hidden);
    const read = async (_: ReadbackRing, name: string) => await Promise.resolve(expected.get(name) ?? []);
    found.push({ layer, measured: ranges, plain: { ...ranges, read } });
  }
  await test.gpu.queue.idle();
  return found;
}

type Scales = Record<string, number[]>;

/** A recipe's scales of every layer by tensor. */
async function scalesOf(recipeText: string, which: "measured" | "plain"): Promise<Scales> {
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {QuantizationModifier: {ignore: [lm_head], ${recipeText}}}}`,
  );
  const tensors = source.entries.map((entry) => ({ ...entry, file: "model.safetensors" }));
  const { steps } = planSteps(tensors, recipe, { kvHeads: sourceConfig.num_key_value_heads });
  const found: Scales = {};
  for (const { layer, [which]: ranges } of observed) {
    const step = steps.find(({ name }) => name === layer.name);
    if (!step) throw new Error("a step for each layer");
    const scales = staticScales(layer, step, kvCacheScheme(recipe));
    await writeStaticScales(scales, ranges, readbacks, (tensor, _, bytes) => {
      found[tensor] = [...widenToFloat32(tensor.endsWith("global_scale") ? "F32" : "BF16", bytes)];
    });
  }
  return found;
}

describe("measured scales", () => {
  it.each(RECIPES)(
    "of %s are those of a plain float64 model, and LLM Compressor's within two steps",
    async (name, text) => {
      const found = await scalesOf(text, "measured");
      expect(found).toEqual(await scalesOf(text, "plain"));
      const scales: Record<string, number | number[]> = calibrated.scales[name];
      expect(Object.keys(found).toSorted()).toEqual(Object.keys(scales));
      for (const [tensor, value] of Object.entries(scales)) {
        const expected = [value].flat();
        expect(found[tensor]).toHaveLength(expected.length);
        for (const [at, scale] of expected.entries()) {
          expect(Math.abs((found[tensor]?.[at] ?? 0) / scale - 1)).toBeLessThan(TOLERANCE);
        }
      }
    },
  );
});
