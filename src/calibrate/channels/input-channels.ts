// What each channel of an input reaches over all calibration tokens: smallest and largest value, and the mean magnitude. It
// tells modifiers that move factors between tensors which channels are hard to quantize.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { ReadbackRing } from "../../gpu/staging.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Collector } from "../collector.ts";
import { widenColumnExtents } from "./column-extents.ts";

/** One number a channel. */
export interface ChannelExtents {
  readonly low: Float32Array;
  readonly high: Float32Array;
  /** Σ|x|. */
  readonly magnitude: Float32Array;
  readonly tokens: number;
}

export interface InputChannels extends Collector, Disposable {
  read(readbacks: ReadbackRing, capture: Capture): Promise<ChannelExtents>;
}

/** GPU bytes of the extents of these captures. */
export function inputChannelsBytes(captures: readonly Capture[]): number {
  return captures.reduce((sum, { columns }) => sum + bufferBytes(columns * 12), 0);
}

export async function openInputChannels(gpu: Gpu, captures: readonly Capture[]): Promise<InputChannels> {
  const requests = captures.map(({ modules, columns }) => ({
    label: `channels of ${modules[0]}'s input`,
    bytes: columns * 12,
  }));
  const allocated: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  const seen = captures.map(() => 0);
  const indexOf = new Map(
    captures.flatMap(({ modules }, index) => modules.map((module) => [module, index] as const)),
  );
  return {
    async onInput(modules, input) {
      const index = indexOf.get(modules[0] ?? "") ?? -1;
      const extents = allocated[index];
      if (!extents || input.rows === 0) return;
      const known = seen[index] ?? 0;
      seen[index] = known + input.rows;
      await widenColumnExtents(gpu, input, extents, known);
    },
    async read(readbacks, capture) {
      const index = captures.indexOf(capture);
      const extents = allocated[index];
      const tokens = seen[index] ?? 0;
      const { columns } = capture;
      invariant(extents, "the capture is collected");
      // Of an expert that no token reached, the buffer holds nothing.
      if (tokens === 0) {
        const none = new Float32Array(columns);
        return { low: none, high: none, magnitude: none, tokens };
      }
      const all = new Float32Array((await readbacks.readBytes(extents, 0, columns * 12)).buffer);
      return {
        low: all.subarray(0, columns),
        high: all.subarray(columns, 2 * columns),
        magnitude: all.subarray(2 * columns),
        tokens,
      };
    },
    [Symbol.dispose]() {
      for (const buffer of allocated) buffer[Symbol.dispose]();
    },
  };
}
