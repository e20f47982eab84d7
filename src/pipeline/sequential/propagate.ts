// Runs all samples through what the layer has become, so that the next one sees its error. Meanwhile the next layer's weights
// are read into host memory.

import type { LayerAtWork } from "./layer-at-work.ts";
import { runSamples } from "./run-samples.ts";

/** True if a crash after this layer could go on behind it. */
export async function propagate(work: LayerAtWork): Promise<boolean> {
  const { step, layer, schedule, services, clock, hosts } = work;
  const recordable = work.isLast || services.keepsStates(work.index + 1) || clock.due();
  hosts.readAfter(step);
  if (work.isLast) return recordable;
  await runSamples(work, {
    needed: { linears: layer.linears, residency: schedule.residency.propagate },
    each: async (batch, hidden) => {
      await services.states.save(batch, hidden, recordable);
      await services.checkpoint();
    },
    report: (detail, done) => services.report("propagating", detail, done),
  });
  return recordable;
}
