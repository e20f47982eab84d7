// AWQ by the outputs of blocks against a plain float64 layer that is run with the weights of the scale that was chosen.

import { expect, it, vi } from "vitest";
import type { Fold } from "../../../formats/weights/fold.ts";
import { widenToFloat32 } from "../../../formats/numbers/dtype.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { NO_STATISTICS } from "../../../quantize/observe/observe-weight.ts";
import { directAttentionKernel } from "../../../calibrate/forward/mixers/attention/attention-kernels.ts";
import { directMatmulKernel } from "../../../gpu/matmul/matmul.ts";
import { candidateErrorsKernel } from "../../../quantize/awq/awq-kernels.ts";
import { awqRewriter } from "../../../quantize/awq/awq-rewriter.ts";
import { ROUNDING } from "../../../quantize/awq/search-work.ts";
import { referenceErrors } from "../../../quantize/awq/reference.ts";
import type { MappingReport } from "../../../quantize/rewriter.ts";
import { referenceLayer } from "../../../testing/fixtures/reference-layer.ts";
import { hostLayer, LENGTHS, MIB, only, planFor } from "../../../testing/layers/small-layer.ts";
import { openRun, RUN_BYTES, STATES, turnOf } from "../../../testing/layers/run-layer.ts";
import { type CalibratedLayer, demandOf } from "../../calibration/layers/calibrated-layer.ts";
import type { LayerSchedule } from "../../calibration/fit/layer-schedule.ts";
import { onload } from "../layer-at-work.ts";
import { propagate } from "../passes/propagate.ts";
import { rewrite } from "./rewrite.ts";

const BUDGET = 64 * MIB;

/** What a block gives out as a share of what it would, where the Linears that read its input are multiplied and rounded. */
function blockLoss(layer: CalibratedLayer, balance: readonly string[], scales: Float32Array): number {
  const { description, tasks, linears } = layer;
  const host = hostLayer(0, "F32").tensors;
  const tensors = new Map(
    Array.from(host, ([name, { dtype, columns, bytes: held }]) => {
      const bytes = held.read(0, held.byteLength);
      const elements = bytes.byteLength / 4;
      const shape = columns === 1 ? [elements] : [elements / columns, columns];
      return [name, { dtype, shape, bytes }];
    }),
  );
  const last = balance[0]?.includes("self_attn") ? "o_proj" : "down_proj";
  const end = linears.find(({ module }) => module.endsWith(last));
  if (!end) throw new Error("the block has a last Linear");
  const output = () => {
    const { inputs } = referenceLayer(description, tensors, STATES, LENGTHS);
    return product(inputs.get(end.module) ?? new Float64Array(), end, tensors.get(end.source.tensor)?.bytes);
  };
  const original = output();
  for (const task of tasks.filter(({ module }) => balance.includes(module))) {
    const { rows, columns, weights } = task;
    const tensor = tensors.get(task.tensor.name);
    if (!tensor) throw new Error("the Linear has a weight");
    const values = widenToFloat32("F32", tensor.bytes);
    const weight = { values, dtype: "F32" as const, rows, columns };
    const errors = referenceErrors(weight, weights, scales, NO_STATISTICS);
    const left = Float32Array.from(values, (value, at) => value - (errors[at] ?? 0));
    tensors.set(task.tensor.name, { ...tensor, bytes: new Uint8Array(left.buffer) });
  }
  const changed = output();
  const square = (x: Float64Array) => x.reduce((sum, value) => sum + value * value, 0);
  return square(changed.map((value, at) => value - (original[at] ?? 0))) / square(original);
}

function product(x: Float64Array, { rows, columns }: Linear, bytes = new Uint8Array()): Float64Array {
  const weight = widenToFloat32("F32", bytes);
  const tokens = x.length / columns;
  const y = new Float64Array(tokens * rows);
  for (let token = 0; token < tokens; token++) {
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < columns; k++) {
        y[token * rows + row] =
          (y[token * rows + row] ?? 0) + (x[token * columns + k] ?? 0) * (weight[row * columns + k] ?? 0);
      }
    }
  }
  return y;
}

function expectBlockLosses(
  layer: CalibratedLayer,
  { balance, search }: MappingReport,
  folds: readonly Fold[],
): void {
  const fold = folds.find(({ tensor }) => tensor === `${balance[0]}.weight`);
  const ones = new Float32Array(64).fill(1);
  // float32 sums against float64
  expect((search?.loss ?? 0) / blockLoss(layer, balance, fold?.factors ?? ones)).toBeCloseTo(1, 3);
  expect((search?.unscaledLoss ?? 0) / blockLoss(layer, balance, ones)).toBeCloseTo(1, 3);
  expect(search?.loss).toBeLessThanOrEqual(search?.unscaledLoss ?? 0);
}

it("glances at what attention gives out in the one run that collects for the MLP, with weights that stay or are streamed", async () => {
  const asked = {
    experts: 0,
    budgetBytes: BUDGET,
    dtype: "F32",
    before: "AWQModifier: {n_grid: 4}, ",
  } as const;
  const job = planFor({ ...asked, quantizer: "QuantizationModifier" }, "lm_head");
  const planned = only(job.plan.layers);
  expect(planned.rewrites).toMatchObject([[{ runsBlocks: false, propagates: true }]]);
  using run = await openRun(job, BUDGET);
  using plain = await onload(turnOf(run, job, hostLayer(0, "F32")));
  await propagate(plain);
  const expected = run.outputs();
  using work = await onload(turnOf(run, job, hostLayer(0, "F32")));
  await rewrite(work);
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  expect(run.outputs()).toEqual(expected);
  const [attention, ...others] = work.rewritten;
  if (!attention) throw new Error("attention has factors");
  expect(attention.search?.byBlock).toBe(true);
  // There are so few tokens that it sees all of them.
  expectBlockLosses(only(job.layers), attention, work.folded.folds);
  expect(others.map(({ search }) => search?.byBlock)).toEqual([undefined, undefined]);

  const residency = { residentBytes: 0, tileBytes: 8192 };
  const rewrites = planned.rewrites.map((passes) => passes.map((pass) => ({ ...pass, residency })));
  using streamed = await onload(
    turnOf(run, job, hostLayer(0, "F32"), { ...planned, rewrites, staysRewriting: false }),
  );
  await rewrite(streamed);
  expect(streamed.folded.folds).toEqual(work.folded.folds);
});

it("gives the GPU as many roundings and runs of attention as the plan counts", async () => {
  const shape = { experts: 0, budgetBytes: BUDGET, dtype: "F32" } as const;
  const modifiers = { before: "AWQModifier: {n_grid: 4}, ", quantizer: "QuantizationModifier" } as const;
  const job = planFor({ ...shape, ...modifiers }, "lm_head");
  using run = await openRun(job, BUDGET);
  const dispatch = vi.spyOn(run.services.gpu.queue, "run");
  const given = (name: string, constants = {}) => {
    const own = dispatch.mock.calls.filter(
      ([kernel, asked]) =>
        kernel.name === name &&
        Object.entries(constants).every(([key, value]) => Reflect.get(asked.constants ?? {}, key) === value),
    );
    return own.reduce((sum, [, { work }]) => sum + work, 0);
  };
  using plain = await onload(turnOf(run, job, hostLayer(0, "F32")));
  await propagate(plain);
  const once = given(directAttentionKernel.name);
  dispatch.mockClear();
  using work = await onload(turnOf(run, job, hostLayer(0, "F32")));
  await rewrite(work);
  // The samples' own run, the glance's original, and four candidates.
  expect(given(directAttentionKernel.name)).toBe((1 + 1 + 4) * once);
  const layer = only(job.layers);
  const weightsOf = (names: RegExp) =>
    layer.tasks
      .filter(({ module }) => names.test(module))
      .reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const [glanced, searched] = [weightsOf(/[qkv]_proj/), weightsOf(/gate_proj|up_proj|down_proj/)];
  // Of what is searched by Hessians, the output once, which errors are compared with.
  const rounded = given(candidateErrorsKernel.name) - searched;
  expect(rounded).toBe(4 * (glanced + searched));
  const products = given(directMatmulKernel.name, { A_TRANSPOSED: 0, B_TRANSPOSED: 0 });
  const rewriting = only(layer.rewritings);
  expect(awqRewriter.work(demandOf(layer, rewriting))).toBe(products + ROUNDING * rounded);
});

it("finds scales by what attention and MLP give out, as a plain layer does, with weights that stay or are streamed", async () => {
  const before = "AWQModifier: {n_grid: 4, loss: block}, ";
  const asked = { experts: 0, budgetBytes: BUDGET, dtype: "F32", before } as const;
  const job = planFor({ ...asked, quantizer: "QuantizationModifier" }, "lm_head");
  const planned = only(job.plan.layers);
  expect(planned.rewrites).toMatchObject([[{ runsBlocks: false }, { runsBlocks: true, propagates: true }]]);
  using run = await openRun(job, BUDGET);
  using plain = await onload(turnOf(run, job, hostLayer(0, "F32")));
  await propagate(plain);
  const expected = run.outputs();
  const searched = async (schedule: LayerSchedule) => {
    using work = await onload(turnOf(run, job, hostLayer(0, "F32"), schedule));
    await rewrite(work);
    return { reports: work.rewritten, folds: work.folded.folds, left: run.outputs() };
  };
  const once = await searched(planned);
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  expect(once.left).toEqual(expected);
  const layer = only(job.layers);
  const byBlock = once.reports.filter(({ search }) => search?.byBlock);
  expect(byBlock.map(({ balance }) => balance.length)).toEqual([3, 2]);
  for (const report of byBlock) expectBlockLosses(layer, report, once.folds);
  const lossOf = (reports: readonly MappingReport[]) => reports.map(({ search }) => search?.ratio);
  const [passes = []] = planned.rewrites;
  const residency = { residentBytes: 0, tileBytes: 8192 };
  const streamed = await searched({ ...planned, rewrites: [passes.map((pass) => ({ ...pass, residency }))] });
  expect(lossOf(streamed.reports)).toEqual(lossOf(once.reports));
  expect(streamed.folds).toEqual(once.folds);
  expect(streamed.left).toEqual(expected);
});
