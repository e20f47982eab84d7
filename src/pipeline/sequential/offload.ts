// Writes what no quantizer has written of a layer: tensors that are carried through, as the modifiers left them, and the
// shapes that packing hides.

import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import { hostTraffic } from "./host-layers.ts";
import type { LayerAtWork } from "./layer-at-work.ts";

export async function offload({ step, host, services: { traffic, share } }: LayerAtWork): Promise<void> {
  if (share && !share.writes) return;
  for (const task of step.quantize) writeShape(task, traffic);
  await copyTensors(step.copy, hostTraffic(step, host, traffic));
}
