// What a calibrated job holds in the page's own memory: layers between the source and the GPU, and hidden states that wait.

import { UnsupportedModelError } from "../../errors.ts";
import { DTYPE_BITS } from "../../formats/dtype.ts";
import { formatBytes } from "../../formats/format-bytes.ts";
import { PAGE_BYTES } from "../../page-memory.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";

/** What layers and hidden states may take; the rest is for chunks on their way, staging, rows of the embedding and codes. */
export const HOST_BYTES = PAGE_BYTES - 2 * 1024 ** 3;

/** A layer's tensors in host memory: of what modifiers fold factors into, there are two. */
export function hostLayerBytes({ linears, vectors, rewritings, dtypeOf }: CalibratedLayer): number {
  const bytesOf = (tensor: string, elements: number) => (elements * DTYPE_BITS[dtypeOf(tensor)]) / 8;
  const weights = linears.map(({ source, rows, columns }) => bytesOf(source.tensor, rows * columns));
  const others = vectors.map(({ name, elements }) => bytesOf(name, elements));
  const sum = [...weights, ...others].reduce((total, bytes) => total + bytes, 0);
  return sum * (rewritings.some(({ mappings }) => mappings.length > 0) ? 2 : 1);
}

/** @throws UnsupportedModelError if a layer is larger than what a browser gives a page */
export function checkHostMemory(layers: readonly CalibratedLayer[]): void {
  for (const layer of layers) {
    const bytes = hostLayerBytes(layer);
    if (bytes <= HOST_BYTES) continue;
    throw new UnsupportedModelError(
      `${layer.description.name} takes ${formatBytes(bytes)} of the page's memory while it is calibrated, and browsers give a page ${formatBytes(PAGE_BYTES)} for all that it holds, ${formatBytes(HOST_BYTES)} of them for this. Recipes that need no calibration go through in pieces of any size.`,
    );
  }
}
