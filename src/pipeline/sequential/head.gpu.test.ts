// The head behind a small layer: its codes are those of the Hessian of what it reads.

import { expect, it } from "vitest";
import { referenceNorm } from "../../calibrate/forward/norm/reference.ts";
import { invariant } from "../../errors.ts";
import { widenToFloat32 } from "../../formats/numbers/dtype.ts";
import type { HostBytes } from "../../onload/host-bytes.ts";
import { floatTensor, type HostLayer } from "../../onload/host-layer.ts";
import { hessianWeightedError } from "../../quantize/gptq/reference.ts";
import { damped } from "../../testing/layers/hessian.ts";
import { openRun, type Run, STATES, turnOf } from "../../testing/layers/run-layer.ts";
import { HIDDEN, hostLayer, LENGTHS, MIB, only, planFor, TOKENS } from "../../testing/layers/small-layer.ts";
import type { LayerSchedule } from "../calibration/fit/layer-schedule.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { onload } from "./layer-at-work.ts";
import { calibrate } from "./passes/calibrate.ts";
import { quantize } from "./passes/quantize.ts";

/** Float32 sums of 20 tokens and 64 columns, and a factorisation, against float64. */
const TOLERANCE = 1e-3;

function valuesOf(host: HostLayer, tensor: string): Float32Array {
  const { dtype, bytes } = floatTensor(host, tensor);
  return widenToFloat32(dtype, bytes.read(0, bytes.byteLength));
}

/** 2 / sequences · XᵀX of the normed states, damped. */
function headHessian({ description: { finalNorm } }: CalibrationJob, host: HostLayer): Float64Array {
  const weight = finalNorm.weight === null ? null : valuesOf(host, finalNorm.weight);
  const x = referenceNorm(finalNorm, STATES, weight, null);
  const h = new Float64Array(HIDDEN * HIDDEN);
  for (let token = 0; token < TOKENS; token++) {
    for (let at = 0; at < h.length; at++) {
      const [i, j] = [Math.floor(at / HIDDEN), at % HIDDEN];
      const product = (x[token * HIDDEN + i] ?? 0) * (x[token * HIDDEN + j] ?? 0);
      h[at] = (h[at] ?? 0) + (2 / LENGTHS.length) * product;
    }
  }
  return damped(h, HIDDEN, 0.01);
}

/** What the codes of the head mean, and their loss. */
async function quantizeHead(run: Run, job: CalibrationJob, host: HostLayer, schedule: LayerSchedule) {
  const meanings = new Map<string, HostBytes>();
  const turn = turnOf(run, job, host, schedule, false);
  const outputs = turn.outputs.map((output) => ({ ...output, meanings }));
  using work = await onload({ ...turn, outputs, isLast: true });
  for (const pass of work.passes) {
    using statistics = await calibrate(work, pass);
    for (const output of work.outputs) await quantize(work, output, pass, statistics);
  }
  const meaning = meanings.get("lm_head");
  invariant(meaning, "the head is quantized");
  const report = only(work.outputs.flatMap(({ reports }) => reports));
  return { report, values: widenToFloat32("BF16", meaning.read(0, meaning.byteLength)) };
}

it("has the loss of its codes under the Hessian of the normed states, less than rounding's, in any tiles", async () => {
  const budgetBytes = 64 * MIB;
  const whole = planFor({ experts: 0, budgetBytes, head: true }, '"re:.*mlp"');
  const [, layer] = whole.layers;
  const [, schedule] = whole.plan.layers;
  invariant(layer && schedule && whole.layers.length === 2, "a layer and the head are planned");
  const job = { ...whole, layers: [layer], plan: { ...whole.plan, layers: [schedule] } };
  using run = await openRun(job, budgetBytes);
  const host = hostLayer(0);
  const weight = valuesOf(host, "lm_head.weight");
  const { report, values } = await quantizeHead(run, job, host, schedule);
  expect(report).toMatchObject({ module: "lm_head", tokens: TOKENS, rounded: false });
  const delta = Float64Array.from(values, (value, at) => value - (weight[at] ?? 0));
  const expected = hessianWeightedError(delta, headHessian(job, host), weight.length / HIDDEN, HIDDEN);
  expect(Math.abs(report.loss / expected - 1)).toBeLessThan(TOLERANCE);
  expect(report.loss).toBeLessThan(report.rtnLoss);
  const tiled = { ...schedule, tileRows: new Map([["lm_head", 16]]) };
  expect((await quantizeHead(run, job, host, tiled)).values).toEqual(values);
});
