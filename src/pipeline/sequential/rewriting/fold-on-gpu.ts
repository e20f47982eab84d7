// Factors go into weights that lie on the GPU already: codes are chosen of them there, and samples run through them.

import { invariant } from "../../../errors.ts";
import type { Fold } from "../../../formats/weights/fold.ts";
import { byModule } from "../../../model/by-module.ts";
import { canFoldOnloaded, foldOnloaded } from "../../../onload/fold-onloaded.ts";
import { type CalibratedLayer, roundsAlone } from "../../calibration/layers/calibrated-layer.ts";
import type { LayerAtWork } from "../layer-at-work.ts";

/** True if nobody wants in host memory what becomes of the weights. */
export function canFoldOnGpu(
  { layer, host, staying, services, outputs }: LayerAtWork,
  folds: readonly Fold[],
): boolean {
  const isWanted = services.share !== null || outputs.some(({ meanings }) => meanings !== undefined);
  const stays = staying.weights !== null && roundsAlone(layer) && !isWanted;
  return stays && canFoldOnloaded(host, layer.linears, folds);
}

/** On the host they go into what is written from there: norms, biases, and Linears that are carried through. */
export async function foldOnGpu(work: LayerAtWork, folds: readonly Fold[]): Promise<void> {
  const { layer, host, staying, services, folded } = work;
  invariant(staying.weights, "the layer's weights stay on the GPU");
  const rounded = roundedTensors(layer);
  await folded.add(folds, true, (tensor) => !rounded.has(tensor));
  const parts = { linears: layer.linears, vectors: layer.vectors.map(({ name }) => name) };
  await foldOnloaded({ ...services, host }, staying.weights, parts, folds);
}

/** Tensors all of whose Linears are rounded. */
function roundedTensors({ linears, tasks }: CalibratedLayer): ReadonlySet<string> {
  const isRounded = byModule(tasks);
  const rounded = new Set(linears.map(({ source }) => source.tensor));
  for (const { module, source } of linears) if (!isRounded.has(module)) rounded.delete(source.tensor);
  return rounded;
}
