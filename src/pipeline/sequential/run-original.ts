// The original model's samples beside those that the quantized layers have changed: a batch at a time, through the weights of a
// layer that is not quantized yet. What its Linears see is compared with what they see in the quantized model, and in the
// layer's last pass the samples go on to the next layer.

import { collectorHooks } from "../../calibrate/collector.ts";
import { forwardLayer } from "../../calibrate/forward/forward-layer.ts";
import { type InputDrifts, openInputDrifts } from "../../calibrate/drifts/input-drifts.ts";
import { driftingIn } from "../calibration/calibrated-layer.ts";
import type { LayerAtWork, Pass } from "./layer-at-work.ts";
import type { SampleRun } from "./run-samples.ts";

/** The drifts that a pass collects, all zero; null if it collects none. */
export async function openDrifts({ layer, services }: LayerAtWork, pass: Pass): Promise<InputDrifts | null> {
  const drifting = driftingIn(layer, pass.captures);
  if (drifting.length === 0) return null;
  const { gpu, samples, batches } = services;
  return await openInputDrifts(gpu, drifting, {
    samples,
    tokens: Math.max(...batches.map(({ rows }) => rows.tokens)),
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
  if (!original) return null;
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
