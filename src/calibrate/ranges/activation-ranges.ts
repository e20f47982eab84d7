// Ranges of activations, one for each calibration sequence: what every observer of static scales starts from. LLM
// Compressor calibrates sequence by sequence, so observers that forget or average see sequences, not our batches.

import { invariant } from "../../errors.ts";
import type { ObserverName } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import type { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { allocateZeros } from "../../gpu/zeros.ts";
import type { SequenceBatch } from "../batches.ts";
import type { Activations } from "../forward/layer-weights.ts";
import { observeRows } from "./observe-rows.ts";

/** Smallest and largest number, reaching to 0. */
export type Range = readonly [number, number];

export interface ActivationRanges extends Disposable {
  /** From now on, rows are those of this batch's sequences. */
  begin(batch: SequenceBatch): void;
  /** Widens the ranges of what is called `name` by the next rows of the batch, unless it is not observed. */
  observe(name: string, values: Activations): Promise<void>;
  /** The range in each sequence, in their order. */
  read(readbacks: ReadbackRing, name: string): Promise<Range[]>;
}

/** GPU bytes of the ranges of `count` observed inputs. */
export function activationRangesBytes(count: number, sequences: number): number {
  return count === 0 ? 0 : count * bufferBytes(sequences * 8);
}

export async function openActivationRanges(
  gpu: Gpu,
  names: readonly string[],
  sequences: number,
): Promise<ActivationRanges> {
  const requests = names.map((name) => ({ label: `ranges of ${name}`, bytes: sequences * 8 }));
  const allocated = await allocateZeros(gpu, requests);
  const buffers = new Map(names.map((name, index) => [name, allocated[index]]));
  const seen = new Map<string, number>();
  let batch: SequenceBatch | null = null;
  return {
    begin(next) {
      batch = next;
      seen.clear();
    },
    async observe(name, values) {
      const buffer = buffers.get(name);
      if (!buffer) return;
      invariant(batch, "a batch is under way");
      const from = seen.get(name) ?? 0;
      seen.set(name, from + values.rows);
      for (const [index, start] of batch.starts.slice(0, -1).entries()) {
        const first = Math.max(start - from, 0);
        const end = Math.min((batch.starts[index + 1] ?? start) - from, values.rows);
        if (first < end) await observeRows(gpu, values, { first, end }, buffer, batch.first + index);
      }
    },
    async read(readbacks, name) {
      const buffer = buffers.get(name);
      invariant(buffer, `${name} is observed`);
      const bytes = await readbacks.readBytes(buffer, 0, sequences * 8);
      const magnitudes = new Float32Array(bytes.buffer);
      return Array.from({ length: sequences }, (_, index) => [
        -(magnitudes[2 * index] ?? 0),
        magnitudes[2 * index + 1] ?? 0,
      ]);
    },
    [Symbol.dispose]() {
      for (const buffer of allocated) buffer[Symbol.dispose]();
    },
  };
}

/** Weight of a new range in the moving average (LLM Compressor `averaging_constant`). */
const AVERAGING = 0.01;

/**
 * One range of all sequences, as an observer of activations makes it: `static_minmax` the widest, `minmax` a moving average,
 * `memoryless_minmax` that of the last sequence. `round` rounds to the activations' dtype.
 */
export function joinRanges(
  ranges: readonly Range[],
  observer: ObserverName | null,
  round: (value: number) => number,
): Range {
  const rounded = ranges.map(([low, high]): Range => [round(low), round(high)]);
  if (observer === "memoryless_minmax") return rounded.at(-1) ?? [0, 0];
  return rounded.reduce((joined, range) => {
    if (observer !== "minmax") return [Math.min(joined[0], range[0]), Math.max(joined[1], range[1])];
    // LLM Compressor's own `lerp`, rounded where PyTorch rounds: torch.lerp would keep more of what was.
    const average = (old: number, next: number) =>
      round(round(old * (1 - AVERAGING)) + round(next * AVERAGING));
    return [average(joined[0], range[0]), average(joined[1], range[1])];
  });
}
