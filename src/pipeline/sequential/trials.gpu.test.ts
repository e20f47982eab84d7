// Sets of a layer's modules with what their codes mean, against the layer run with those weights.

import { expect, it } from "vitest";
import type { HostBytes } from "../../onload/host-bytes.ts";
import type { HostLayer } from "../../onload/host-layer.ts";
import { hostLayer, LENGTHS, MIB, only, planFor } from "../../testing/layers/small-layer.ts";
import { openRun, STATES, turnOf } from "../../testing/layers/run-layer.ts";
import { calibrate } from "./passes/calibrate.ts";
import { onload } from "./layer-at-work.ts";
import { propagate } from "./passes/propagate.ts";
import { quantize } from "./passes/quantize.ts";
import { reduce } from "./exchange/reduce.ts";
import { openTrials } from "./trials.ts";

const LAYER = "model.layers.0";
const SETS = [
  ["q_proj", "k_proj", "v_proj"].map((name) => `${LAYER}.self_attn.${name}`),
  [`${LAYER}.mlp.down_proj`],
];

function weightOf(host: HostLayer, module: string): HostBytes {
  const tensor = host.tensors.get(`${module}.weight`);
  if (!tensor) throw new Error(`${module} is in the layer`);
  return tensor.bytes;
}

function valuesOf(bytes: HostBytes): Uint8Array<ArrayBuffer> {
  return bytes.read(0, bytes.byteLength);
}

/** On average over tokens: the squared change as a share of the square. */
function movedBy(before: Float32Array, after: Float32Array, columns: number): number {
  const tokens = before.length / columns;
  const shares = Array.from({ length: tokens }, (_, token) => {
    const [was, is] = [before, after].map((all) => all.subarray(token * columns, (token + 1) * columns));
    const change = was?.reduce((sum, value, at) => sum + (value - (is?.[at] ?? 0)) ** 2, 0) ?? 0;
    return change / (was?.reduce((sum, value) => sum + value ** 2, 0) ?? 1);
  });
  return shares.reduce((sum, share) => sum + share, 0) / tokens;
}

/** Of the first batch: trials are of its tokens. */
const TOKENS = LENGTHS[0] ?? 0;
const COLUMNS = STATES.length / LENGTHS.reduce((sum, length) => sum + length, 0);

it("move the last hidden states as the layer with those weights does, which stays as it was", async () => {
  const budgetBytes = 64 * MIB;
  const job = planFor({ experts: 0, budgetBytes }, '"re:.*gate_proj"', { propagate_error: false });
  using run = await openRun(job, budgetBytes);
  const schedule = { ...only(job.plan.layers), overlap: false };
  const host = hostLayer(0);
  const turn = turnOf(run, job, host, schedule, false);
  const meanings = new Map<string, HostBytes>();
  const trials = openTrials({ lengths: [TOKENS], sets: new Map([[turn.step.index, SETS]]) }, new Map());
  using work = await onload(turn);
  for (const pass of work.passes) {
    using statistics = await calibrate(work, pass);
    await reduce(work, pass, statistics);
    for (const output of work.outputs) await quantize(work, { ...output, meanings }, pass, statistics);
  }
  await trials.begin(work);
  await trials.run(work, meanings);
  // A layer that is done again, on another device, is not tried again.
  await trials.begin(work);
  await trials.run(work, meanings);
  const original = hostLayer(0);
  for (const module of SETS.flat())
    expect(valuesOf(weightOf(host, module))).toEqual(valuesOf(weightOf(original, module)));

  const outputsWith = async (modules: readonly string[]) => {
    const changed = hostLayer(0);
    for (const module of modules)
      weightOf(changed, module).write(0, valuesOf(meanings.get(module) ?? weightOf(host, module)));
    using layer = await onload(turnOf(run, job, changed, schedule, false));
    await propagate(layer);
    return run.outputs().subarray(0, TOKENS * COLUMNS);
  };
  const before = await outputsWith([]);
  const results = trials.results();
  expect(results.map(({ modules }) => modules)).toEqual(SETS);
  for (const { modules, moved } of results) {
    const expected = movedBy(before, await outputsWith(modules), COLUMNS);
    expect(expected).toBeGreaterThan(1e-7);
    // sums in float32, in batches of other sizes
    expect(moved / expected).toBeCloseTo(1, 3);
  }
});
