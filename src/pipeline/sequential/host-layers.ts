// Layers from the source into host memory, one ahead: the next one is read while this one is at work.

import { type HostLayer, memoryLayer } from "../../onload/layer-weights.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import { hostLayerBytes } from "../calibration/host-memory.ts";
import type { StepTraffic } from "../job/step-traffic.ts";
import { invariant } from "../../errors.ts";
import type { TileTraffic } from "../job/traffic.ts";
import { type PlannedStep, tensorsOf } from "../planning/planned-step.ts";

/** Layers on their way into host memory. */
export interface HostLayers {
  take(step: PlannedStep): Promise<HostLayer>;
  /** Begins to read a layer. */
  readAhead(step: PlannedStep): void;
  /** Begins to read the layer after `step`, unless that was begun. */
  readAfter(step: PlannedStep): void;
}

/**
 * Layers of `steps`, read through `traffic`.
 * @param roomBytes what two layers may take together: where they take more, the next one is read when this one is done with
 */
export function createHostLayers(
  steps: readonly PlannedStep[],
  traffic: StepTraffic,
  roomBytes: number,
): HostLayers {
  const ahead = new Map<PlannedStep, Promise<HostLayer>>();
  const readAhead = (step: PlannedStep) => {
    const reading = readHostLayer(step, traffic);
    // If what comes before it fails, nobody asks for it, and why it failed too is of no interest.
    reading.catch(() => undefined);
    ahead.set(step, reading);
  };
  return {
    readAhead,
    async take(step) {
      const reading = ahead.get(step) ?? readHostLayer(step, traffic);
      ahead.delete(step);
      return await reading;
    },
    readAfter(step) {
      const next = steps[steps.indexOf(step) + 1];
      if (next && !ahead.has(next) && hostBytes(step) + hostBytes(next) <= roomBytes) readAhead(next);
    },
  };
}

function hostBytes({ calibrated }: PlannedStep): number {
  return calibrated ? hostLayerBytes(calibrated.layer) : 0;
}

/** All tensors of a layer in host memory. */
async function readHostLayer(step: PlannedStep, traffic: StepTraffic): Promise<HostLayer> {
  const tensors = await Promise.all(
    tensorsOf(step).map(async ({ name, dtype, shape, file, start, end }) => {
      const columns = shape.length > 1 ? (shape.at(-1) ?? 1) : 1;
      return [name, { dtype, columns, bytes: await traffic.take({ path: file, start, end }) }] as const;
    }),
  );
  return memoryLayer(tensors);
}

/** Traffic that reads tensors from the layer in host memory, as its modifiers left them; the layer's own progress counts their bytes. */
export function hostTraffic(step: PlanStep, host: HostLayer, traffic: TileTraffic): TileTraffic {
  const own = [...step.copy, ...step.quantize.map(({ tensor }) => tensor)];
  return {
    ...traffic,
    async read({ path, start, end }) {
      const tensor = own.find(
        (candidate) => candidate.file === path && candidate.start <= start && end <= candidate.end,
      );
      const bytes = tensor && host.tensors.get(tensor.name)?.bytes;
      invariant(tensor && bytes, "the layer's tensors are in host memory");
      return await Promise.resolve(bytes.read(start - tensor.start, end - tensor.start).slice());
    },
    finished: () => undefined,
  };
}
