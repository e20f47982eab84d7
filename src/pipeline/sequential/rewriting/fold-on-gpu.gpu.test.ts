import { expect, it } from "vitest";
import { hostLayer, MIB, only, planFor } from "../../../testing/layers/small-layer.ts";
import { openRun, RUN_BYTES, turnOf } from "../../../testing/layers/run-layer.ts";
import type { LayerSchedule } from "../../calibration/fit/layer-schedule.ts";
import { TilePipeline } from "../../data-free/tile-pipeline.ts";
import { onload } from "../layer-at-work.ts";
import { calibrate } from "../passes/calibrate.ts";
import { propagate } from "../passes/propagate.ts";
import { quantize } from "../passes/quantize.ts";
import { rewrite } from "./rewrite.ts";

const EXPERTS = 3;
const CARRIED = ["input_layernorm", "post_attention_layernorm", "mlp.gate"];

it("writes of weights that stay on the GPU what it writes of those that the host folds, and computes the same behind it", async () => {
  const budgetBytes = 64 * MIB;
  const layer = { experts: EXPERTS, budgetBytes, quantizer: "QuantizationModifier" } as const;
  const job = planFor({ ...layer, before: "AWQModifier: {n_grid: 5}, " }, "mlp.gate");
  const planned = only(job.plan.layers);
  expect(planned.staysRewriting).toBe(true);
  if (!job.tiling) throw new Error("weights that are rounded go in tiles");
  using run = await openRun(job, budgetBytes);
  using tiles = await TilePipeline.create(run.services.gpu, job.tiling);
  const made = async (schedule: LayerSchedule) => {
    const host = hostLayer(EXPERTS);
    const turn = turnOf({ ...run, services: { ...run.services, tiles } }, job, host, schedule);
    const outputs = turn.outputs.map((output) => ({
      ...output,
      step: { ...output.step, quantize: output.share.tasks },
    }));
    using work = await onload({ ...turn, outputs });
    await rewrite(work);
    const staysToTheEnd = work.staying.weights !== null;
    for (const pass of work.passes) {
      using statistics = await calibrate(work, pass);
      for (const output of work.outputs) await quantize(work, output, pass, statistics);
    }
    await propagate(work);
    await Promise.all(work.rounding);
    const carried = CARRIED.map((name) => {
      const bytes = host.tensors.get(`model.layers.0.${name}.weight`)?.bytes;
      return bytes?.read(0, bytes.byteLength);
    });
    const written = new Map(run.written);
    run.written.clear();
    return { staysToTheEnd, carried, written, folds: work.folded.folds, outputs: run.outputs() };
  };
  const { staysToTheEnd, ...onGpu } = await made(planned);
  expect(staysToTheEnd).toBe(true);
  expect(onGpu.folds.length).toBeGreaterThan(0);
  expect(onGpu.written.size).toBeGreaterThan(3 * EXPERTS);
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  expect(await made({ ...planned, staysRewriting: false })).toEqual({ ...onGpu, staysToTheEnd: false });
});
