// AWQ on a mixture against a plain float64 layer: experts whose Linears are rounded with the factors that stay, and without any.

import { expect, it } from "vitest";
import { layerMappings } from "../../../model/mappings.ts";
import type { HostLayer } from "../../../onload/host-layer.ts";
import { foldLayer } from "../../../onload/fold-layer.ts";
import { referenceErrors } from "../../../quantize/awq/reference.ts";
import { NO_STATISTICS } from "../../../quantize/observe/observe-weight.ts";
import type { MappingReport } from "../../../quantize/rewriter.ts";
import type { FixtureTensors } from "../../../testing/fixtures/architecture-fixture.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { referenceLayer, type ReferenceLinears } from "../../../testing/fixtures/reference-layer.ts";
import { hostLayer, LENGTHS, MIB, only, planFor } from "../../../testing/layers/small-layer.ts";
import { openRun, RUN_BYTES, STATES, statesIn, turnOf } from "../../../testing/layers/run-layer.ts";
import type { CalibratedLayer } from "../../calibration/layers/calibrated-layer.ts";
import { onload } from "../layer-at-work.ts";
import { rewrite } from "./rewrite.ts";

const EXPERTS = 3;
const HIDDEN = 64;
const BUDGET = 64 * MIB;
/** As language models have them: a few channels that reach much further than the others. */
const OUTLIERS = new Set([3, 17, 40]);
const OUTLIER = 20;

function tensorsOf({ tensors }: HostLayer): FixtureTensors {
  return new Map(
    Array.from(tensors, ([name, { dtype, columns, bytes: held }]) => {
      const bytes = held.read(0, held.byteLength);
      const elements = bytes.byteLength / 4;
      return [name, { dtype, bytes, shape: columns === 1 ? [elements] : [elements / columns, columns] }];
    }),
  );
}

/** Experts as rounding to nearest leaves them; attention stays. */
function roundedExperts({ tasks }: CalibratedLayer): ReferenceLinears {
  const known = new Map(tasks.map((task) => [task.module, task]));
  return {
    input: (_, x) => x,
    weight({ module, rows, columns }, values) {
      const task = module.includes(".experts.") ? known.get(module) : undefined;
      if (!task) return values;
      const ones = new Float32Array(columns).fill(1);
      const weight = { values, dtype: "F32" as const, rows, columns };
      const errors = referenceErrors(weight, task.weights, ones, NO_STATISTICS);
      return values.map((value, at) => value - (errors[at] ?? 0));
    },
  };
}

function squaredError(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + (value - (b[index] ?? 0)) ** 2, 0);
}

it("lets go of factors with which experts would give out worse than they do by plain rounding", async () => {
  const asked = { experts: EXPERTS, budgetBytes: BUDGET, dtype: "F32" } as const;
  const before = "AWQModifier: {n_grid: 5}, ";
  const job = planFor({ ...asked, before, quantizer: "QuantizationModifier" }, "lm_head");
  const layer = only(job.layers);
  const norm = layerMappings(layer.description).find(({ block }) => block === "experts");
  using run = await openRun(job, BUDGET);
  const tensors = tensorsOf(hostLayer(EXPERTS, "F32"));
  const linears = roundedExperts(layer);
  const ratios: number[] = [];
  const stayed = new Set<string>();
  for (const seed of [1, 2, 3, 6]) {
    const states = randomNormal(STATES.length, seededRandom(seed)).map((value, index) =>
      OUTLIERS.has(index % HIDDEN) ? OUTLIER * value : value,
    );
    const services = {
      ...run.services,
      states: statesIn(run.services, new Float32Array(STATES.length), states),
    };
    using work = await onload(turnOf({ ...run, services }, job, hostLayer(EXPERTS, "F32")));
    await rewrite(work);
    const found = work.rewritten.find(({ smooth }) => smooth === norm?.smooth);
    const inner = work.rewritten.filter(({ smooth }) => smooth.endsWith(".up_proj"));
    const isFolded = (report: MappingReport | undefined) => report?.scales[0] !== 1;
    stayed.add(`${isFolded(found)}, ${inner.some(isFolded)}`);
    const outputOf = (of: FixtureTensors, by: ReferenceLinears | null) =>
      referenceLayer(layer.description, of, states, LENGTHS, by).output;
    const truth = outputOf(tensors, null);
    const host = hostLayer(EXPERTS, "F32");
    await foldLayer(host).add(work.folded.folds, true);
    const plain = squaredError(outputOf(tensors, linears), truth);
    ratios.push(squaredError(outputOf(tensorsOf(host), linears), truth) / plain);
  }
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  // float32 sums against float64
  for (const ratio of ratios) expect(ratio).toBeLessThan(1 + 1e-3);
  // The input's factors, and the down projections'.
  expect([...stayed].toSorted()).toEqual(["false, false", "false, true", "true, false", "true, true"]);
});

it("chooses among all scales by what experts give out where that is asked for", async () => {
  const before = "AWQModifier: {n_grid: 4, loss: block}, ";
  const asked = { experts: EXPERTS, budgetBytes: BUDGET, dtype: "F32", before } as const;
  const job = planFor({ ...asked, quantizer: "QuantizationModifier" }, "lm_head");
  using run = await openRun(job, BUDGET);
  using work = await onload(turnOf(run, job, hostLayer(EXPERTS, "F32")));
  await rewrite(work);
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  const byBlock = work.rewritten.filter(({ search }) => search?.byBlock);
  expect(byBlock.map(({ smooth }) => smooth)).toEqual([
    "model.layers.0.input_layernorm",
    "model.layers.0.post_attention_layernorm",
  ]);
  for (const { search } of byBlock) expect(search?.loss).toBeLessThanOrEqual(search?.unscaledLoss ?? 0);
});
