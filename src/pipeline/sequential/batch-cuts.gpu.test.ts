// What is chosen of a layer is told by the model, the recipe and the samples, and not by the batches that a GPU's memory has them cut
// into: the same bytes from one batch of all samples, from batches of one sequence, and from MLPs that are run in pieces.

import { expect, it } from "vitest";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { HIDDEN, hostLayer, LENGTHS, MIB, planFor, TOKENS } from "../../testing/layers/small-layer.ts";
import { openRun, type Run, STATES, statesIn, turnOf } from "../../testing/layers/run-layer.ts";
import { reduce } from "./exchange/reduce.ts";
import { type LayerAtWork, onload } from "./layer-at-work.ts";
import { calibrate } from "./passes/calibrate.ts";
import { propagate } from "./passes/propagate.ts";
import { quantize } from "./passes/quantize.ts";
import { rewrite } from "./rewriting/rewrite.ts";

const ROUNDED = { quantizer: "QuantizationModifier" } as const;
const ORIGINAL = randomNormal(TOKENS * HIDDEN, seededRandom(11)).map(
  (value, at) => 0.1 * value + (STATES[at] ?? 0),
);

interface Recipe extends Omit<Parameters<typeof planFor>[0], "experts" | "budgetBytes" | "dtype"> {
  readonly experts?: number;
}

function groupOf(weights: string, more = ""): string {
  return `config_groups: {g: {targets: [Linear], weights: {num_bits: 8, type: int, ${weights}}${more}}}`;
}

const CHANNELS = "strategy: channel";
const inputs = (observer: string) =>
  `, input_activations: {num_bits: 8, type: int, strategy: tensor, dynamic: false, observer: ${observer}}`;
const cache = (observer: string) =>
  `, kv_cache_scheme: {num_bits: 8, type: float, strategy: tensor, dynamic: false, observer: ${observer}}`;

const RECIPES: readonly (readonly [string, Recipe])[] = [
  ["AWQ", { ...ROUNDED, before: "AWQModifier: {n_grid: 5}, " }],
  ["AWQ by what blocks give out", { ...ROUNDED, before: "AWQModifier: {n_grid: 5, loss: block}, " }],
  ["AWQ of experts", { ...ROUNDED, experts: 3, before: "AWQModifier: {n_grid: 5}, " }],
  ["AWQ before GPTQ", { before: "AWQModifier: {n_grid: 5}, " }],
  ["SmoothQuant before W8A8", { ...ROUNDED, before: "SmoothQuantModifier: {}, ", scheme: groupOf(CHANNELS) }],
  ["GPTQ", {}],
  ["GPTQ of experts", { experts: 3 }],
  ["GPTQ of W8A8 that answers for drift", { scheme: `${groupOf(CHANNELS)}, drift: 0.5` }],
  ["imatrix_mse", { ...ROUNDED, scheme: groupOf("strategy: group, group_size: 32, observer: imatrix_mse") }],
  ["static scales of inputs", { ...ROUNDED, scheme: groupOf(CHANNELS, inputs("static_minmax")) }],
  ["static scales, averaged", { ...ROUNDED, scheme: groupOf(CHANNELS, inputs("minmax")) }],
  ["a quantized cache", { ...ROUNDED, scheme: groupOf(CHANNELS) + cache("static_minmax") }],
  ["a quantized cache, averaged", { ...ROUNDED, scheme: groupOf(CHANNELS) + cache("minmax") }],
];

/** Tokens of a batch and of an MLP's run at most; a batch has a sequence at least. */
interface Cuts {
  readonly maxTokens: number;
  readonly mlpTokens: number;
}

/** Some of what is left of statistics is rounded elsewhere: it is told as it was collected. */
async function quantized(work: LayerAtWork) {
  const weighed = [];
  for (const pass of work.passes) {
    using statistics = await calibrate(work, pass);
    await reduce(work, pass, statistics);
    if (statistics.squares) weighed.push(await statistics.squares.read(work.services.readbacks));
    for (const output of work.outputs) await quantize(work, output, pass, statistics);
  }
  const reports = work.outputs.flatMap((output) => output.reports);
  return { weighed, losses: reports.map(({ module, loss, rtnLoss }) => ({ module, loss, rtnLoss })) };
}

/** The run with its samples cut otherwise, beside those of the original model. */
async function within(run: Run, { mlpTokens }: Cuts, use: (services: Run["services"]) => Promise<void>) {
  const { workspace, gpu, batches } = run.services;
  const tokens = Math.max(...batches.map(({ rows }) => rows.tokens));
  const label = "hidden states of the original model";
  using hidden = await gpu.memory.allocate({ label, bytes: ORIGINAL.byteLength });
  const original = { states: statesIn(run.services, new Float32Array(STATES.length), ORIGINAL), hidden };
  const plan = { ...workspace.plan, mlpTokens, size: { ...workspace.plan.size, tokens } };
  await use({ ...run.services, original, workspace: { ...workspace, plan } });
}

async function compressed({ experts = 0, ...layer }: Recipe, cuts: Cuts) {
  const budgetBytes = 64 * MIB;
  const job = planFor({ ...layer, experts, budgetBytes, dtype: "F32" }, "lm_head");
  using run = await openRun(job, budgetBytes, cuts);
  const found: unknown[] = [];
  await within(run, cuts, async (services) => {
    using work = await onload(turnOf({ ...run, services }, job, hostLayer(experts, "F32")));
    await rewrite(work);
    found.push(work.rewritten, work.folded.folds, await quantized(work));
    await propagate(work);
  });
  const batches = run.services.batches.length;
  return { batches, found: [...found, new Map(run.written), run.outputs()] };
}

it.each(RECIPES)("%s: the same however samples are cut into batches", async (_, recipe) => {
  const most = Math.max(...LENGTHS);
  const whole = await compressed(recipe, { maxTokens: TOKENS, mlpTokens: TOKENS });
  const apart = await compressed(recipe, { maxTokens: 1, mlpTokens: TOKENS });
  const inRuns = await compressed(recipe, { maxTokens: TOKENS, mlpTokens: most });
  expect([whole.batches, apart.batches]).toEqual([1, LENGTHS.length]);
  expect(apart.found).toEqual(whole.found);
  expect(inRuns.found).toEqual(whole.found);
});
