import { describe, expect, it } from "vitest";
import { collectorHooks } from "../../../calibrate/collector.ts";
import { referenceDrift } from "../../../calibrate/drifts/reference.ts";
import { invariant } from "../../../errors.ts";
import type { SquareMatrix } from "../../../gpu/square-matrix.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { hostLayer, LENGTHS, MIB, only, planFor } from "../../../testing/layers/small-layer.ts";
import { openRun, type Run, RUN_BYTES, STATES, statesIn, turnOf } from "../../../testing/layers/run-layer.ts";
import type { CalibrationJob } from "../../calibration/plan-calibrated-layers.ts";
import { calibrate } from "./calibrate.ts";
import { type LayerAtWork, onload } from "../layer-at-work.ts";
import { propagate } from "./propagate.ts";
import { quantize } from "./quantize.ts";
import { runSamples } from "./run-samples.ts";
import type { SequentialServices } from "../services.ts";

const BUDGET_BYTES = 64 * MIB;
const SCHEME =
  "drift: 0.5, config_groups: {group_0: {targets: [Linear], weights: {num_bits: 4, group_size: 32}}}";
/** States of the original model: those of the quantized one are off from them by a tenth. */
const noise = randomNormal(STATES.length, seededRandom(11), 0.1);
const ORIGINAL = STATES.map((value, index) => value + (noise[index] ?? 0));

function streamOf({ services }: Run, values: Float32Array<ArrayBuffer>, outputs: Float32Array) {
  return statesIn(services, outputs, values);
}

/** What each Linear sees of all samples, by module, and what leaves the layer, with its weights as they are. */
async function seen(work: LayerAtWork, states: SequentialServices["states"]) {
  const inputs = new Map<string, number[]>();
  const { gpu, readbacks } = work.services;
  const onInput = async (
    modules: readonly string[],
    {
      buffer,
      rows,
      columns,
      stride,
      offset = 0,
    }: Parameters<NonNullable<ReturnType<typeof collectorHooks>["onInput"]>>[1],
  ) => {
    const whole = new Float32Array((await readbacks.readBytes("of" in buffer ? buffer.of : buffer)).buffer);
    for (const module of modules) {
      const own = inputs.get(module) ?? [];
      inputs.set(module, own);
      for (let row = 0; row < rows; row++) {
        const start = offset + row * stride;
        own.push(...whole.subarray(start, start + columns));
      }
    }
  };
  await runSamples(
    { ...work, services: { ...work.services, states } },
    {
      needed: { linears: work.layer.linears, residency: work.schedule.residency.propagate },
      each: async (batch, hidden) => await states.save(batch, hidden, false),
      collect: { hooks: collectorHooks([{ onInput }]) },
      report: () => undefined,
    },
  );
  await gpu.queue.idle();
  return inputs;
}

async function readDrift({ services }: Run, { layout, buffers }: SquareMatrix): Promise<Float32Array> {
  const [panel] = layout.panels;
  const [buffer] = buffers;
  invariant(
    panel?.rows === layout.n && panel.stride === layout.n && buffer,
    "it lies in one panel, without gaps",
  );
  return new Float32Array((await services.readbacks.readBytes(buffer)).buffer);
}

/** Plans and opens a layer whose samples run through the original model, too. */
async function withOriginal(run: Run, job: CalibrationJob, outputs: Float32Array, maxPasses: boolean) {
  const { services } = run;
  const hidden = await services.gpu.memory.allocate({ label: "original", bytes: STATES.byteLength });
  const original = { states: streamOf(run, ORIGINAL, outputs), hidden };
  const planned = only(job.plan.layers);
  const several = {
    ...planned,
    overlap: false,
    passes: planned.passes.flat().map((capture) => [capture]),
    residency: {
      ...planned.residency,
      calibrate: planned.passes.flat().map(() => planned.residency.propagate),
    },
  };
  const schedule = maxPasses ? several : planned;
  const turn = turnOf({ ...run, services: { ...services, original } }, job, hostLayer(0), schedule);
  const work = await onload(turn);
  return {
    work,
    [Symbol.dispose]() {
      work[Symbol.dispose]();
      hidden[Symbol.dispose]();
    },
  };
}

describe.each([
  ["one pass, in one batch", false, 64],
  ["a pass for each input, in batches of one sequence", true, 1],
])("the original model's samples in %s", (_how, several, maxTokens) => {
  it("leave the layer as its own weights make them, and drifts are what inputs differ by, to 1e-5", async () => {
    const job = planFor({ experts: 0, budgetBytes: BUDGET_BYTES, scheme: SCHEME }, '"re:none"');
    using run = await openRun(job, BUDGET_BYTES, { maxTokens });
    const outputs = new Float32Array(STATES.length);
    using opened = await withOriginal(run, job, outputs, several);
    const { work } = opened;
    const left = new Float32Array(STATES.length);
    const original = await seen(work, streamOf(run, ORIGINAL, left));
    const quantized = await seen(work, streamOf(run, STATES, new Float32Array(STATES.length)));
    expect(work.passes.length).toBe(several ? 4 : 1);
    for (const pass of work.passes) {
      using statistics = await calibrate(work, pass);
      for (const capture of pass.captures) {
        const [module = ""] = capture.modules;
        const drift = statistics.drifts?.drift(capture);
        invariant(drift, "the drift of each input is wanted");
        const found = await readDrift(run, drift);
        const [before, after] = [original.get(module) ?? [], quantized.get(module) ?? []];
        const expected = referenceDrift(before, after, capture.columns, LENGTHS.length);
        const largest = Math.max(...expected.map(Math.abs));
        const worst = Math.max(...expected.map((value, at) => Math.abs(value - (found[at] ?? 0))));
        expect(worst / largest).toBeLessThan(1e-5);
      }
      for (const output of work.outputs) await quantize(work, output, pass, statistics);
    }
    expect(outputs).toEqual(left);
    await propagate(work);
    expect(run.outputs()).not.toEqual(left);
    expect(outputs).toEqual(left);
    expect(work.outputs.flatMap(({ reports }) => reports)).toHaveLength(7);
    expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  });
});
