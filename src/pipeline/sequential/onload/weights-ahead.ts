// Weights of the next layer come to the GPU while samples run through the one before, which would wait for them: all of them where they
// stay there and the plan has room for both layers'; else, while samples are propagated, some that come first.

import { allEnded } from "../../../all-ended.ts";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { HostLayer } from "../../../onload/host-layer.ts";
import { createJointWork, type JointWork } from "../../../joint-work.ts";
import { onloadEarly, type OnloadedLayer, type RowTile } from "../../../onload/layer-weights.ts";
import { waitLater } from "../../../wait-later.ts";
import { earlyLinears, earlyRing } from "../../calibration/memory/early-room.ts";
import type { PlannedLayer, PlannedStep } from "../../planning/planned-step.ts";
import type { SequentialServices } from "../services.ts";
import type { HostLayers } from "./host-layers.ts";
import { type NeededWeights, onloadWeights } from "./onload-weights.ts";

/** A layer whose turn it is. */
interface WantedLayer extends Pick<PlannedLayer, "layer"> {
  readonly step: PlannedStep;
  readonly host: HostLayer;
}

export interface WeightsAhead extends AsyncDisposable {
  /** Begins to bring all weights of the layer after `step` once they are in host memory, if that was begun, and the plan has it. */
  bringAfter(step: PlannedStep): void;
  /**
   * Brings what the samples of the layer after `step` run through first, as much as the plan has room for while samples are propagated,
   * which `run` does. Ends with it, behind the weight that is under way; those that came stay.
   * @param run is given what both are parts of: it may know of a failure long before it ends
   * @throws what failed first
   */
  bringDuring(step: PlannedStep, run: WorkBeside): Promise<void>;
  /** A layer's weights, with those that have come of it: whoever gets them disposes of them. */
  onload(wanted: WantedLayer, needed: NeededWeights): Promise<OnloadedLayer>;
}

/** What weights are brought beside. */
type WorkBeside = (joint: JointWork) => Promise<void>;

/** What has come of a layer, or is on its way. */
interface Brought {
  /** Null where only some of its weights come. */
  readonly whole: Promise<OnloadedLayer> | null;
  /** Rows by module of those that come one by one. */
  readonly resident: Map<string, readonly RowTile[]>;
}

/** The layer behind one at work, on its way to host memory. */
interface NextLayer {
  readonly step: PlannedStep;
  readonly planned: PlannedLayer;
  readonly reading: Promise<HostLayer>;
}

export function createWeightsAhead(
  services: Pick<SequentialServices, "gpu" | "uploads" | "plan">,
  hosts: Pick<HostLayers, "coming">,
  steps: readonly PlannedStep[],
): WeightsAhead {
  const ahead = new Map<PlannedStep, Brought>();
  const nextOf = (step: PlannedStep): NextLayer | null => {
    const next = steps[steps.indexOf(step) + 1];
    const reading = next && hosts.coming(next);
    return next?.calibrated && reading ? { step: next, planned: next.calibrated, reading } : null;
  };
  return {
    bringAfter(step) {
      const next = services.plan.bringsAhead ? nextOf(step) : null;
      if (next) ahead.set(next.step, { whole: waitLater(bringWhole(services, next)), resident: new Map() });
    },
    async bringDuring(step, run) {
      const next = nextOf(step);
      const bring = next && earlyBringing(services, next);
      if (!bring) return await run(createJointWork());
      const resident: Brought["resident"] = new Map();
      ahead.set(next.step, { whole: null, resident });
      await bring(resident, run);
    },
    async onload({ step, layer, host }, needed) {
      const { whole = null, resident } = ahead.get(step) ?? {};
      ahead.delete(step);
      return (await whole) ?? (await onloadWeights(services, layer, host, needed, resident));
    },
    async [Symbol.asyncDispose]() {
      for (const brought of ahead.values()) await giveBack(brought);
      ahead.clear();
    },
  };
}

/** All weights that samples run through. */
async function bringWhole(
  services: Pick<SequentialServices, "gpu" | "uploads">,
  { planned: { layer, schedule }, reading }: NextLayer,
): Promise<OnloadedLayer> {
  const needed = { linears: layer.linears, residency: schedule.residency.propagate };
  return await onloadWeights(services, layer, await reading, needed);
}

/** What brings weights of a layer one by one until `run` has ended; null where the plan has room for none. */
function earlyBringing(
  { gpu, plan }: Pick<SequentialServices, "gpu" | "plan">,
  { planned, reading }: NextLayer,
): ((resident: Brought["resident"], run: WorkBeside) => Promise<void>) | null {
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const linears = earlyLinears(planned, plan, limit);
  if (linears.length === 0) return null;
  return async (resident, run) => {
    using ring = await UploadRing.create(gpu, earlyRing(plan.shape));
    const ending = new AbortController();
    const bring = async () => {
      const host = await beforeEnd(reading, ending.signal);
      for (const linear of linears) {
        if (!host || ending.signal.aborted) return;
        await onloadEarly(gpu, ring, host, { linear, limit, resident });
      }
    };
    const joint = createJointWork();
    await allEnded([joint.watch(bring()), joint.watch(run(joint).finally(() => ending.abort()))]);
  };
}

/** What is read; null if it is not there before the end, or cannot be: whoever needs it is told of that. */
async function beforeEnd<Read>(reading: Promise<Read>, signal: AbortSignal): Promise<Read | null> {
  const ended = new Promise<null>((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
  return await Promise.race([reading.catch(() => null), ended]);
}

/** Of what nobody took. */
async function giveBack({ whole, resident }: Brought): Promise<void> {
  for (const { weight } of [...resident.values()].flat()) weight[Symbol.dispose]();
  await whole?.then(
    (weights) => weights[Symbol.dispose](),
    () => undefined,
  );
}
