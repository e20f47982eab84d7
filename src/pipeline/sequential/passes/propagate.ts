// Runs all samples through what the layer has become, so that the next one sees its error. Meanwhile at the latest the next layer's
// weights are read into host memory.

import type { LayerAtWork, LeftLayer } from "../layer-at-work.ts";
import { lendToPropagate } from "./lend-strassen.ts";
import { runSamples, type SampleRun } from "./run-samples.ts";

/** True if a crash after this layer could go on behind it. */
export async function propagate(work: LayerAtWork): Promise<boolean> {
  const { layer, schedule, services, isLast, ahead, step } = work;
  const left = work.left.behind;
  const behind = left ?? leave(work);
  if (isLast || left) return behind.recordable();
  using lent = await lendToPropagate(services);
  const roomy = { ...work, services: { ...services, workspace: lent.workspace } };
  const run: SampleRun = {
    needed: { linears: layer.linears, residency: schedule.residency.propagate },
    atWork: schedule.atWork.propagate,
    each: behind.save,
    report: (detail, done) => services.report("propagating", detail, done),
  };
  await ahead.bringDuring(step, async (joint) => await runSamples(roomy, { ...run, joint }));
  return behind.recordable();
}

/** Samples begin to leave the layer, for the next one. */
export function leave(work: LayerAtWork): LeftLayer {
  const { step, services, hosts, recordable } = work;
  hosts.readAfter(step);
  return {
    recordable,
    save: async (batch, hidden, free) => {
      await services.states.save(batch, hidden, recordable(), free);
      await services.checkpoint();
    },
  };
}
