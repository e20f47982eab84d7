// What each channel of an input reaches over all calibration tokens: smallest and largest value, and the mean magnitude. It
// tells modifiers that move factors between tensors which channels are hard to quantize.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import type { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Collector } from "../collector.ts";
import { LANE_SUMS } from "../column-strips.ts";
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
  /** All captures are read back at once: the first one that is asked for waits for the GPU. */
  read(readbacks: ReadbackRing, capture: Capture): Promise<ChannelExtents>;
}

/** Parts of a buffer are bound at multiples of this. */
const PART_BYTES = 256;

/** Numbers a column: the least, the largest, Σ|x|. */
const EXTENTS = 3;

/** Where each capture's part of a buffer is that holds so many numbers a column. */
function layOut(captures: readonly Capture[], numbers: number) {
  let bytes = 0;
  const offsets = captures.map(({ columns }) => {
    const offset = bytes;
    bytes += Math.ceil((columns * numbers * 4) / PART_BYTES) * PART_BYTES;
    return offset;
  });
  return { offsets, bytes };
}

/** GPU bytes of the extents of these captures, and of what their sums go on from. */
export function inputChannelsBytes(captures: readonly Capture[]): number {
  return bufferBytes(layOut(captures, EXTENTS).bytes) + bufferBytes(layOut(captures, LANE_SUMS).bytes);
}

export async function openInputChannels(gpu: Gpu, captures: readonly Capture[]): Promise<InputChannels> {
  const { offsets, bytes } = layOut(captures, EXTENTS);
  const lanes = layOut(captures, LANE_SUMS);
  const [buffer, sums] = await gpu.memory.allocateAll([
    { label: "channels of inputs", bytes },
    { label: "sums of channels by lane", bytes: lanes.bytes },
  ]);
  const seen = captures.map(() => 0);
  const indexOf = new Map(
    captures.flatMap(({ modules }, index) => modules.map((module) => [module, index] as const)),
  );
  let known: Promise<Uint8Array<ArrayBuffer>> | null = null;
  return {
    async onInput(modules, input) {
      const index = indexOf.get(modules[0] ?? "") ?? -1;
      const [offset, sumsOffset] = [offsets[index], lanes.offsets[index]];
      if (offset === undefined || sumsOffset === undefined || input.rows === 0) return;
      known = null;
      const before = seen[index] ?? 0;
      seen[index] = before + input.rows;
      const extents = { of: buffer, offset, bytes: input.columns * EXTENTS * 4 };
      const laneSums = { of: sums, offset: sumsOffset, bytes: input.columns * LANE_SUMS * 4 };
      await widenColumnExtents(gpu, input, extents, laneSums, before);
    },
    async read(readbacks, capture) {
      const index = captures.indexOf(capture);
      const offset = offsets[index];
      const tokens = seen[index] ?? 0;
      const { columns } = capture;
      invariant(offset !== undefined, "the capture is collected");
      // Of an expert that no token reached, the buffer holds nothing.
      if (tokens === 0) {
        const none = new Float32Array(columns);
        return { low: none, high: none, magnitude: none, tokens };
      }
      known ??= readbacks.readBytes(buffer);
      const all = new Float32Array((await known).buffer, offset, 3 * columns);
      return {
        low: all.subarray(0, columns),
        high: all.subarray(columns, 2 * columns),
        magnitude: all.subarray(2 * columns),
        tokens,
      };
    },
    [Symbol.dispose]() {
      buffer[Symbol.dispose]();
      sums[Symbol.dispose]();
    },
  };
}
