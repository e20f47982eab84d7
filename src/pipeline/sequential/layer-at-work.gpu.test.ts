// A decoder layer of 64 experts: whole on the GPU, or one Linear of one expert at a time.

import { describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { openStrassen } from "../../gpu/matmul/strassen/open-strassen.ts";
import { leastStrassen, strassenRequests } from "../../gpu/matmul/strassen/strassen-size.ts";
import { countUploads } from "../../testing/test-gpu/count-uploads.ts";
import { layerInFile } from "../../testing/layers/layer-in-file.ts";
import { checkpoint, hostLayer, LENGTHS, MIB, only, planFor } from "../../testing/layers/small-layer.ts";
import { openRun, RUN_BYTES, turnOf } from "../../testing/layers/run-layer.ts";
import type { LayerSchedule } from "../calibration/fit/layer-schedule.ts";
import { calibrate } from "./passes/calibrate.ts";
import { type LayerAtWork, type LayerOutput, onload, passesOf } from "./layer-at-work.ts";
import { propagate } from "./passes/propagate.ts";
import { quantize } from "./passes/quantize.ts";
import { reduce } from "./exchange/reduce.ts";

async function quantizeLayer(work: LayerAtWork): Promise<LayerOutput["reports"]> {
  for (const pass of work.passes) {
    using statistics = await calibrate(work, pass);
    await reduce(work, pass, statistics);
    for (const output of work.outputs) await quantize(work, output, pass, statistics);
  }
  return work.outputs.flatMap(({ reports }) => reports);
}

function byModule(a: { readonly module: string }, b: { readonly module: string }): number {
  return a.module < b.module ? -1 : 1;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Peak of what propagating a layer takes beside what lives through the whole job, and the layer's output. */
async function propagated(budgetBytes: number, residentBytes: number) {
  const job = planFor({ experts: 64, budgetBytes }, '"re:.*experts"');
  using run = await openRun(job, budgetBytes);
  const { memory, queue } = run.services.gpu;
  await queue.idle();
  const before = memory.bytes;
  const planned = only(job.plan.layers);
  const residency = { ...planned.residency, propagate: { ...planned.residency.propagate, residentBytes } };
  const passes = { ...planned, residency, overlap: false };
  using work = await onload(turnOf(run, job, hostLayer(64), passes));
  await propagate(work);
  return {
    resident: planned.resident,
    bytes: memory.peakBytes - before,
    outputs: run.outputs(),
  };
}

describe("a layer whose weights stay on the GPU while they are quantized", () => {
  it("gives the same bytes and hidden states as one whose weights come anew, from memory or a file, or settle by and by, for one pass or for several", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 2, budgetBytes }, '"re:.*self_attn", "re:.*up_proj"');
    using run = await openRun(job, budgetBytes);
    const planned = only(job.plan.layers);
    expect(planned.overlap).toBe(true);
    const compressed = async (passes: LayerSchedule, propagateError: boolean, host = hostLayer(2)) => {
      using work = await onload(turnOf(run, job, host, passes, propagateError));
      run.written.clear();
      const reports = await quantizeLayer(work);
      await propagate(work);
      const losses = reports.map(({ module, loss, rtnLoss }) => ({ module, loss, rtnLoss }));
      return { losses, written: new Map(run.written), outputs: run.outputs() };
    };
    const anew = { ...planned, overlap: false };
    const several = { ...anew, passes: planned.passes.flat().map((capture) => [capture]) };
    expect(several.passes.length).toBeGreaterThan(1);
    const kept = await compressed(planned, true);
    const order = planned.passes.flat().toReversed();
    const turns = order.map((capture, index) => ({
      capture,
      brings: [capture, ...order.slice(index + 1, index + 2)].flatMap(({ modules }) => modules),
    }));
    const { tileRows } = planned;
    const settled = { ...anew, settling: { turns, tileRows } };
    expect(kept.written.size).toBeGreaterThan(5);
    expect(await compressed(anew, true)).toEqual(kept);
    expect(await compressed(several, true)).toEqual(kept);
    expect(await compressed(several, true, layerInFile(hostLayer(2)))).toEqual(kept);
    const fromTheLast = { ...several, passes: several.passes.toReversed() };
    const inOrder = ({ losses, ...rest }: typeof kept) => ({ ...rest, losses: losses.toSorted(byModule) });
    expect(inOrder(await compressed(fromTheLast, true))).toEqual(inOrder(kept));
    expect(await compressed(anew, true, layerInFile(hostLayer(2)))).toEqual(kept);
    expect(await compressed(anew, false)).toEqual(await compressed(planned, false));
    expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
    // That nothing of so small a layer needs: its ring alone takes more.
    expect(await compressed(settled, true)).toEqual(kept);
    expect(await compressed(settled, false)).toEqual(await compressed(planned, false));
  });
});

describe("a layer whose error later ones do not see", () => {
  it("gives its samples on while it collects: the same bytes and hidden states, and no run to propagate", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 0, budgetBytes }, '"re:.*o_proj"', { propagate_error: false });
    using run = await openRun(job, budgetBytes);
    const planned = only(job.plan.layers);
    const compressed = async (schedule: LayerSchedule) => {
      const told = new Set<string>();
      const turn = turnOf(run, job, hostLayer(0), schedule, false);
      const services = { ...turn.services, report: (phase: string) => void told.add(phase) };
      using work = await onload({ ...turn, services });
      run.written.clear();
      await quantizeLayer(work);
      await propagate(work);
      return { told: [...told], written: new Map(run.written), outputs: run.outputs() };
    };
    const apart = await compressed({ ...planned, leaves: false });
    expect(apart.told).toEqual(["calibrating", "quantizing", "propagating"]);
    expect(apart.written.size).toBeGreaterThan(5);
    const once = { ...apart, told: ["calibrating", "quantizing"] };
    expect(await compressed(planned)).toEqual(once);
    const several = { ...planned, overlap: false, passes: planned.passes.flat().map((capture) => [capture]) };
    expect(await compressed(several)).toEqual(once);
    // The last one's samples go nowhere, and still what is left of it waits for the layer before.
    const behind = (isLast: boolean) => {
      const pass = passesOf({ ...turnOf(run, job, hostLayer(0), several, false), isLast }).at(-1);
      return [pass?.ends, pass?.leaves];
    };
    expect([behind(false), behind(true)]).toEqual([
      [true, true],
      [true, false],
    ]);
    expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  });

  it("goes through twice where it has experts, as one does whose error they see", () => {
    const leaves = (experts: number, propagate_error: boolean) =>
      only(planFor({ experts, budgetBytes: 64 * MIB }, '"re:.*o_proj"', { propagate_error }).plan.layers)
        .leaves;
    expect([leaves(0, false), leaves(0, true), leaves(2, false)]).toEqual([true, false, false]);
  });
});

describe("a layer of NVFP4 weights by GPTQ", () => {
  it("gives the modules of a fused set one global scale, over ranges that the Hessian weighs", async () => {
    const budgetBytes = 64 * MIB;
    const weights =
      "{num_bits: 4, type: float, strategy: tensor_group, group_size: 16, scale_dtype: torch.float8_e4m3fn, observer: imatrix_mse}";
    const scheme = `config_groups: {group_0: {targets: [Linear], weights: ${weights}}}`;
    const job = planFor({ experts: 2, budgetBytes, scheme }, '"re:.*o_proj", "re:.*down_proj"');
    using run = await openRun(job, budgetBytes);
    using work = await onload(turnOf(run, job, hostLayer(2)));
    const reports = await quantizeLayer(work);
    expect(reports.every(({ loss, rtnLoss }) => loss < rtnLoss)).toBe(true);
    const scaleOf = (module: string) => run.written.get(`model.layers.0.${module}.weight_global_scale 0`);
    const [q, k, v] = ["q", "k", "v"].map((part) => scaleOf(`self_attn.${part}_proj`));
    expect(q).toHaveLength(4);
    expect([k, v]).toEqual([q, q]);
    const up = scaleOf("mlp.experts.0.up_proj");
    expect(scaleOf("mlp.experts.0.gate_proj")).toEqual(up);
    expect(scaleOf("mlp.experts.1.up_proj")).not.toEqual(up);
  });
});

describe("a layer whose batches come and go while others are computed", () => {
  it("gives the same hidden states as one that does one thing at a time", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 2, budgetBytes }, '"re:.*self_attn"');
    using run = await openRun(job, budgetBytes, { buffers: 2, maxTokens: 1 });
    const { services } = run;
    expect(services.batches.length).toBe(LENGTHS.length);
    using work = await onload(turnOf(run, job, hostLayer(2)));
    const oneAtATime = { ...services, hidden: services.hidden.slice(0, 1) };
    await propagate({ ...work, services: oneAtATime, left: { behind: null } });
    const alone = run.outputs();
    const atWork = { ...work.schedule.atWork, propagate: 2 } as const;
    const here = { ...work, schedule: { ...work.schedule, atWork } };
    await propagate({ ...here, services: oneAtATime, left: { behind: null } });
    expect(run.outputs(), "with room for a second batch in this phase alone").toEqual(alone);
    await propagate(work);
    expect(alone.every((value) => value !== 0)).toBe(true);
    expect(run.outputs()).toEqual(alone);
  });
});

describe("a layer that has room for Strassen's products while its samples are propagated", () => {
  it("takes what the plan has of it and gives it back; the hidden states are the same where no product is large", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 0, budgetBytes }, '"re:.*self_attn"');
    using run = await openRun(job, budgetBytes);
    const { services } = run;
    const { gpu, workspace, plan } = services;
    // Its MLP goes in runs of four tokens at other times.
    const narrow = { ...workspace, plan: { ...workspace.plan, mlpTokens: 4 } };
    using work = await onload(turnOf(run, job, hostLayer(0)));
    const propagatedWith = async (own: typeof services) => {
      const before = gpu.memory.bytes;
      gpu.memory.resetPeak();
      await propagate({ ...work, services: own, left: { behind: null } });
      expect(gpu.memory.bytes).toBe(before);
      return { bytes: gpu.memory.peakBytes - before, outputs: run.outputs() };
    };
    const plain = await propagatedWith({ ...services, workspace: narrow });
    const size = leastStrassen({ m: 256, n: 256, k: 32 });
    const scratch = { bytes: workspace.plan.scratchBytes, mlpTokens: workspace.plan.mlpTokens };
    const opened = await openStrassen(gpu, { ...size, stays: false }, true);
    const strassen = { ...size, stays: false, scratch };
    const lent = await propagatedWith({ ...services, workspace: narrow, plan: { ...plan, strassen } });
    const products = strassenRequests(size).map(({ bytes }) => bytes);
    expect(lent.bytes - plain.bytes).toBe(sum([...products, scratch.bytes]));
    expect(lent.outputs).toEqual(plain.outputs);
    expect(gpu.tuning.strassen).toBeNull();
    opened[Symbol.dispose]();
  });
});

describe("a layer's weights", () => {
  it("go to the GPU once, or once a pass, however many batches its samples are, and with each batch where there is no room", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 2, budgetBytes }, '"re:.*o_proj"');
    const kept = only(job.plan.layers);
    expect(kept.overlap).toBe(true);
    const uploaded = async (schedule: LayerSchedule, maxTokens?: number) => {
      using run = await openRun(job, budgetBytes, maxTokens === undefined ? {} : { maxTokens });
      using count = countUploads();
      using work = await onload(turnOf(run, job, hostLayer(2), schedule));
      await quantizeLayer(work);
      await propagate(work);
      return { batches: run.services.batches.length, bytes: count.bytes };
    };
    const weights = sum(
      checkpoint(2)
        .filter(({ name }) => name.startsWith("model.layers."))
        .map(tensorBytes),
    );

    const once = await uploaded(kept);
    expect(once.bytes).toBeGreaterThan(weights);
    expect(once.bytes).toBeLessThan(2 * weights);
    expect(await uploaded(kept, 1)).toEqual({ batches: LENGTHS.length, bytes: once.bytes });

    const anew = { ...kept, overlap: false };
    const oncePerPass = await uploaded(anew);
    expect(await uploaded(anew, 1)).toEqual({ batches: LENGTHS.length, bytes: oncePerPass.bytes });

    const { propagate: samples } = kept.residency;
    const residency = { ...kept.residency, propagate: { ...samples, residentBytes: 0 } };
    const streamed = await uploaded({ ...anew, residency }, 1);
    expect(streamed.bytes).toBeGreaterThan(oncePerPass.bytes);
  });
});

describe("a layer of experts", () => {
  it("of which there are 64 takes the memory of its largest Linear where one at a time is onloaded, and gives the same bit for bit", async () => {
    const whole = await propagated(64 * MIB, Infinity);
    const streamed = await propagated(1 * MIB, 0);
    expect([whole.resident, streamed.resident]).toEqual([true, false]);
    expect(streamed.outputs).toEqual(whole.outputs);
    const weights = checkpoint(64).filter(({ name }) => name.startsWith("model.layers."));
    const linears = weights.filter(({ shape }) => shape.length > 1).map(tensorBytes);
    // Norms are bfloat16 in the file and float32 on the GPU.
    const norms = sum(weights.filter(({ shape }) => shape.length === 1).map(tensorBytes)) * 2;
    expect(whole.bytes).toBe(sum(linears) + norms);
    expect(streamed.bytes).toBe(Math.max(...linears) + norms);
  });

  it("rounds experts to nearest that see too few of their own tokens, and says what each saw", async () => {
    const ignore = '"re:.*self_attn", "re:.*experts\\\\.[2-7]\\\\."';
    const options = { moe_calibrate_all_experts: false, moe_min_tokens_per_expert: 5 };
    const job = planFor({ experts: 8, budgetBytes: 64 * MIB }, ignore, options);
    using run = await openRun(job, 64 * MIB);
    using work = await onload(turnOf(run, job, hostLayer(8)));
    const reports = await quantizeLayer(work);
    const [seen, few] = [true, false].map((enough) => reports.filter(({ tokens }) => tokens >= 5 === enough));
    expect([seen?.length, few?.length]).toEqual([3, 3]);
    expect(seen?.every(({ loss, rtnLoss }) => loss < rtnLoss)).toBe(true);
    expect(few?.map(({ loss, rtnLoss }) => [loss, rtnLoss])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
  });
});
