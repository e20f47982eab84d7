// Where weights do not stay on the GPU, some of the next layer's come there while samples are propagated through this one: the GPU would
// wait for them before the next layer's first batch.

import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import { onloadEarly, type RowTile } from "../../../onload/layer-weights.ts";
import { waitLater } from "../../../wait-later.ts";
import { earlyLinears, earlyRing } from "../../calibration/memory/early-room.ts";
import type { PlannedStep } from "../../planning/planned-step.ts";
import type { HostLayers } from "./host-layers.ts";
import type { SequentialServices } from "../services.ts";

export interface EarlyWeights extends Disposable {
  /**
   * Brings what the samples of the layer after `step` run through first, as much as the plan has room for while samples are propagated,
   * which `run` does. Ends with it, behind the weight that is under way; those that came stay.
   */
  bringDuring(step: PlannedStep, run: () => Promise<void>): Promise<void>;
  /** Rows by module of those of a layer that have come, which whoever takes them disposes of. */
  take(step: PlannedStep): ReadonlyMap<string, readonly RowTile[]>;
}

export function createEarlyWeights(
  { gpu, plan }: Pick<SequentialServices, "gpu" | "plan">,
  hosts: Pick<HostLayers, "coming">,
  steps: readonly PlannedStep[],
): EarlyWeights {
  const come = new Map<PlannedStep, Map<string, readonly RowTile[]>>();
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const take = (step: PlannedStep) => {
    const resident = come.get(step) ?? new Map<string, readonly RowTile[]>();
    come.delete(step);
    return resident;
  };
  return {
    async bringDuring(step, run) {
      const next = steps[steps.indexOf(step) + 1];
      const reading = next && hosts.coming(next);
      const linears = next?.calibrated ? earlyLinears(next.calibrated, plan, limit) : [];
      if (!next || !reading || linears.length === 0) return await run();
      using ring = await UploadRing.create(gpu, earlyRing(plan.shape));
      const resident = new Map<string, readonly RowTile[]>();
      come.set(next, resident);
      const ending = new AbortController();
      const bring = async () => {
        const host = await beforeEnd(reading, ending.signal);
        for (const linear of linears) {
          if (!host || ending.signal.aborted) return;
          await onloadEarly(gpu, ring, host, { linear, limit, resident });
        }
      };
      const bringing = waitLater(bring());
      try {
        await run();
      } finally {
        ending.abort();
        await bringing;
      }
    },
    take,
    [Symbol.dispose]() {
      for (const step of come.keys()) disposeRows(take(step));
    },
  };
}

/** What is read; null if it is not there before the end, or cannot be: whoever needs it is told of that. */
async function beforeEnd<Read>(reading: Promise<Read>, signal: AbortSignal): Promise<Read | null> {
  const ended = new Promise<null>((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
  return await Promise.race([reading.catch(() => null), ended]);
}

function disposeRows(resident: ReadonlyMap<string, readonly RowTile[]>): void {
  for (const { weight } of [...resident.values()].flat()) weight[Symbol.dispose]();
}
