// Weights that stay on the GPU come there while samples run through the layer before, where the plan has room for both layers' weights.

import type { OnloadedLayer } from "../../../onload/layer-weights.ts";
import type { PlannedStep } from "../../planning/planned-step.ts";
import type { HostLayers } from "./host-layers.ts";
import { onloadWeights } from "./onload-weights.ts";
import type { SequentialServices } from "../services.ts";
import { waitLater } from "../../../wait-later.ts";

export interface WeightsAhead extends AsyncDisposable {
  /** Begins to bring the weights of the layer after `step` once they are in host memory, if that was begun. */
  bringAfter(step: PlannedStep): void;
  /** A layer's weights, which whoever takes them disposes of; null if they were not brought. */
  take(step: PlannedStep): Promise<OnloadedLayer | null>;
}

export function createWeightsAhead(
  services: Pick<SequentialServices, "gpu" | "uploads" | "plan">,
  hosts: Pick<HostLayers, "coming">,
  steps: readonly PlannedStep[],
): WeightsAhead {
  const ahead = new Map<PlannedStep, Promise<OnloadedLayer>>();
  const bring = (step: PlannedStep) => {
    const { calibrated } = step;
    const reading = hosts.coming(step);
    if (!calibrated || !reading) return;
    const { layer, schedule } = calibrated;
    const needed = { linears: layer.linears, residency: schedule.residency.propagate };
    const brought = reading.then(async (host) => await onloadWeights(services, layer, host, needed));
    ahead.set(step, waitLater(brought));
  };
  return {
    bringAfter(step) {
      const next = steps[steps.indexOf(step) + 1];
      if (next && services.plan.bringsAhead) bring(next);
    },
    async take(step) {
      const brought = ahead.get(step) ?? null;
      ahead.delete(step);
      return await brought;
    },
    async [Symbol.asyncDispose]() {
      for (const brought of ahead.values())
        await brought.then(
          (weights) => weights[Symbol.dispose](),
          () => undefined,
        );
    },
  };
}
