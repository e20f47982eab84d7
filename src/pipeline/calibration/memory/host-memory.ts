// What a calibrated job holds outside the GPU: layers between the source and the GPU, and hidden states that wait. What the page's
// memory does not hold of a layer lies in a file.

import type { JobOptions } from "../../../api/job-options.ts";
import type { HiddenPlace } from "../../../calibrate/hidden-states.ts";
import { DTYPE_BITS } from "../../../formats/numbers/dtype.ts";
import { formatBytes } from "../../../formats/text/format-bytes.ts";
import { PAGE_BYTES } from "../../../page-memory.ts";
import {
  type CalibratedLayer,
  foldingIn,
  hostedLinears,
  waitingModules,
} from "../layers/calibrated-layer.ts";
import type { GpuLimits } from "../costs/calibration-memory.ts";
import type { LayerPlace } from "../fit/calibration-plan.ts";
import type { LayerSchedule } from "../fit/layer-schedule.ts";

/** What layers and hidden states may take; the rest is for chunks on their way, staging, rows of the embedding and codes. */
export const HOST_BYTES = PAGE_BYTES - 2 * 1024 ** 3;

/** Hidden states up to this size wait in host memory; more go to a file. */
const MAX_HIDDEN_BYTES = 6 * 1024 ** 3;

/** Of memory that does not hold a layer, so much is filled with it: the rest is for what is on its way to the file and from there. */
const MEMORY_BESIDE_FILE = 7 / 8;

/** What a job sets as its own limit. */
export function hostLimit({
  hostBudgetBytes,
}: Pick<JobOptions, "hostBudgetBytes">): Pick<GpuLimits, "hostBytes"> {
  return hostBudgetBytes === undefined ? {} : { hostBytes: hostBudgetBytes };
}

/** A layer and the passes in which it is quantized. */
export interface ScheduledLayer {
  readonly layer: CalibratedLayer;
  readonly schedule: Pick<LayerSchedule, "passes">;
}

/**
 * What a layer holds while it is at work: its tensors; where several modifiers fold factors into them, the original ones beside them;
 * and what codes mean of modules whose original weights a later pass computes with.
 */
export function hostLayerBytes({ layer, schedule: { passes } }: ScheduledLayer): number {
  const { weights, others } = tensorSizes(layer);
  const tensors = sum([...weights.values(), ...others]);
  const folded = foldingIn(layer).length > 1 ? tensors : 0;
  const waiting = Array.from(waitingModules(layer, passes), (module) => weights.get(module) ?? 0);
  return tensors + folded + sum(waiting);
}

/**
 * Where hidden states wait, and layers lie.
 * @param layers one of each shape
 * @param hiddenBytes of all hidden states
 * @param spareBytes of the GPU's memory
 */
export function planPlaces(
  layers: readonly ScheduledLayer[],
  hiddenBytes: number,
  spareBytes: number,
  { hostBytes = HOST_BYTES }: Pick<GpuLimits, "hostBytes">,
): { readonly place: HiddenPlace; readonly layerPlace: LayerPlace } {
  const beside = hostBytes - Math.max(0, ...layers.map(hostLayerBytes));
  const onHost = hiddenBytes <= Math.min(MAX_HIDDEN_BYTES, beside);
  const place = hiddenBytes <= spareBytes ? "gpu" : onHost ? "host" : "file";
  return { place, layerPlace: placeLayers(layers, hostBytes - (place === "host" ? hiddenBytes : 0)) };
}

/** Where layers lie of which so many bytes may be in memory. */
export function placeLayers(layers: readonly ScheduledLayer[], hostBytes: number): LayerPlace {
  const sizes = layers.map(hostLayerBytes);
  const layerBytes = Math.max(0, ...sizes);
  if (layerBytes <= hostBytes) return { layerBytes, memoryBytes: hostBytes, fileBytes: 0 };
  const memoryBytes = Math.floor(hostBytes * MEMORY_BESIDE_FILE);
  const beyond = layers.map(({ layer }, index) => {
    const over = (sizes[index] ?? 0) - memoryBytes;
    // The first tensor that has no room any more leaves a gap in memory that is smaller than it.
    return over > 0 ? over + largestTensor(layer) : 0;
  });
  return { layerBytes, memoryBytes, fileBytes: Math.max(...beyond) };
}

/** What a plan says of layers that lie in a file in part; nothing if none do. */
export function layerFileNotes({ layerBytes, memoryBytes, fileBytes }: LayerPlace): string[] {
  if (fileBytes === 0) return [];
  return [
    `A layer takes up to ${formatBytes(layerBytes)} while it is calibrated, and ${formatBytes(memoryBytes)} of the page's memory are for layers: what does not fit, up to ${formatBytes(fileBytes)}, lies in a file in the browser's storage meanwhile.`,
  ];
}

/** Experts may lie in one tensor. */
function largestTensor(layer: CalibratedLayer): number {
  const { weights, others } = tensorSizes(layer);
  const tensors = new Map<string, number>();
  for (const { module, source } of hostedLinears(layer))
    tensors.set(source.tensor, (tensors.get(source.tensor) ?? 0) + (weights.get(module) ?? 0));
  return Math.max(...tensors.values(), ...others);
}

function tensorSizes(layer: CalibratedLayer) {
  const { vectors, carriedBytes, dtypeOf } = layer;
  const bytesOf = (tensor: string, elements: number) => (elements * DTYPE_BITS[dtypeOf(tensor)]) / 8;
  const weights = new Map(
    hostedLinears(layer).map(({ module, source, rows, columns }) => [
      module,
      bytesOf(source.tensor, rows * columns),
    ]),
  );
  const others = vectors.map(({ name, elements }) => bytesOf(name, elements));
  return { weights, others: [...others, carriedBytes] };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
