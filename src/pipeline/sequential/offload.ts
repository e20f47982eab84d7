// Writes what no quantizer has written of a layer: tensors that are carried through, and the shapes that packing hides.

import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import type { LayerAtWork } from "./layer-at-work.ts";

export async function offload({ step, services: { traffic } }: LayerAtWork): Promise<void> {
  for (const task of step.quantize) writeShape(task, traffic);
  // the layer's own progress counts these bytes
  await copyTensors(step.copy, { ...traffic, finished: () => undefined });
}
