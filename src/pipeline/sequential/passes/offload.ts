// Writes what no quantizer has written of a layer into one of its results: tensors that are carried through, as the modifiers
// left them, and the shapes that packing hides.

import { copyTensors, writeShape } from "../../job/copy-tensors.ts";
import { hostTraffic } from "../onload/host-layers.ts";
import type { LayerAtWork, LayerOutput } from "../layer-at-work.ts";

export async function offload({ host, services }: LayerAtWork, { step, write }: LayerOutput): Promise<void> {
  if (services.share && !services.share.writes) return;
  const traffic = { ...services.traffic, write };
  for (const task of step.quantize) writeShape(task, traffic);
  await copyTensors(step.copy, hostTraffic(step, host, traffic));
}
