// The original model's samples beside those that the quantized layers have changed, through the weights of a layer that is not
// quantized yet. Modifiers that move factors look at them; or what the layer's Linears see of them is compared, a batch at a
// time, with what they see in the quantized model, and then they go on to the next layer in the layer's last pass.

import { collectorHooks } from "../../../calibrate/collector.ts";
import { forwardLayer } from "../../../calibrate/forward/forward-layer.ts";
import { type InputDrifts, openInputDrifts } from "../../../calibrate/drifts/input-drifts.ts";
import { invariant } from "../../../errors.ts";
import { mostTokens } from "../../../calibrate/batches.ts";
import { driftingIn } from "../../calibration/layers/calibrated-layer.ts";
import type { LayerAtWork, LeftLayer, Pass, TakeStates } from "../layer-at-work.ts";
import { leave } from "./propagate.ts";
import { runSamples, type SampleRun } from "./run-samples.ts";
import type { OriginalSamples, SequentialServices } from "../services.ts";

/** The drifts that a pass collects, all zero; null if it collects none. */
export async function openDrifts({ layer, services }: LayerAtWork, pass: Pass): Promise<InputDrifts | null> {
  const drifting = driftingIn(layer, pass.captures);
  if (drifting.length === 0) return null;
  const { gpu, samples, batches } = services;
  return await openInputDrifts(gpu, drifting, {
    samples,
    tokens: mostTokens(batches.map(({ rows }) => rows)),
    maxPanelBytes: gpu.device.limits.maxStorageBufferBindingSize,
  });
}

/** What runs the original model's batch before that of the quantized one; null of a job that does not follow the original. */
export function runOriginal(
  { layer, services, isLast, recordable }: LayerAtWork,
  pass: Pass,
  { wanted, drifts }: { readonly wanted: ReadonlySet<string>; readonly drifts: InputDrifts | null },
): SampleRun["before"] | null {
  const { original } = services;
  if (!original || layer.drifting === null) return null;
  const leaves = pass.isLast && !isLast;
  if (!leaves && !drifts) return null;
  const hooks = drifts ? { hooks: collectorHooks([drifts.keep]) } : {};
  const stopping = leaves ? {} : { stopAtLastInput: true, wanted };
  return async (batch, forward) => {
    const { states, hidden } = original;
    await states.load(batch, hidden);
    drifts?.keep.begin?.(batch);
    await forwardLayer({ ...forward, ...hooks, ...stopping }, layer.description, hidden);
    if (leaves) await states.save(batch, hidden, recordable());
  };
}

/** The samples that modifiers see which move factors. */
export function seenByRewriters({ layer, services }: LayerAtWork): Pick<SampleRun, "states"> {
  return layer.rewritesOriginal ? { states: originalOf(services).states } : {};
}

/** Takes a batch of the original model's hidden states to the next layer. */
function saveOriginal({ services, recordable }: LayerAtWork): TakeStates {
  const { states } = originalOf(services);
  return async (batch, hidden, free) => {
    await states.save(batch, hidden, recordable(), free);
    await services.checkpoint();
  };
}

/** The samples that modifiers see go on to the next layer; if these are all that there are, none is left to propagate. */
export function leaveRewriting(work: LayerAtWork): LeftLayer["save"] {
  if (work.layer.rewritesOriginal) return saveOriginal(work);
  const behind = leave(work);
  work.left.behind = behind;
  return behind.save;
}

/** Tells that the samples which modifiers see are in front of the next layer, where these are all that there are. */
export async function goneRewriting({ layer, gone }: LayerAtWork): Promise<void> {
  if (!layer.rewritesOriginal) await gone();
}

/** Runs the original model's samples through the layer, for nothing but the next one. */
export async function passOriginal(work: LayerAtWork): Promise<void> {
  const { layer, services, schedule, collections } = work;
  await runSamples(work, {
    ...seenByRewriters(work),
    needed: { linears: layer.linears, residency: schedule.residency.propagate },
    each: saveOriginal(work),
    report: (detail, done) => services.report("calibrating", detail, done / collections),
  });
}

function originalOf({ original }: SequentialServices): OriginalSamples {
  invariant(original, "samples of the original model run through the layers, too");
  return original;
}
