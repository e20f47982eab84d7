// A layer's weights from host memory to the GPU, for its samples.

import type { Gpu } from "../../../gpu/gpu.ts";
import type { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { Linear } from "../../../model/weight-description.ts";
import type { HostLayer } from "../../../onload/host-layer.ts";
import { type OnloadedLayer, type OnloadedParts, onloadLayer } from "../../../onload/layer-weights.ts";
import type { Residency } from "../../../onload/residency.ts";
import type { CalibratedLayer } from "../../calibration/layers/calibrated-layer.ts";

/** Which of a layer's weights samples need, and how they lie on the GPU. */
export interface NeededWeights {
  readonly linears: readonly Linear[];
  readonly residency: Residency;
}

/**
 * Brings a layer's vectors, and of these weights those that are to be resident.
 * @param come those that have come already
 */
export async function onloadWeights(
  { gpu, uploads }: { readonly gpu: Gpu; readonly uploads: UploadRing },
  { vectors }: CalibratedLayer,
  host: HostLayer,
  { linears, residency }: NeededWeights,
  come: OnloadedParts["come"] = new Map(),
): Promise<OnloadedLayer> {
  const parts = { linears, vectors: vectors.map(({ name }) => name), come };
  return await onloadLayer(gpu, uploads, host, parts, residency);
}
