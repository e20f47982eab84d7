// Σx² of each column of what modules read, over all calibration tokens: how much a column counts for the observer imatrix_mse.
// Modules that have a Hessian need none of this: it is the Hessian's diagonal.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import type { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { allocateZeros } from "../../gpu/zeros.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Collector } from "../collector.ts";
import type { Activations } from "../forward/layer-weights.ts";
import { LANE_SUMS } from "../column-strips.ts";
import { addColumnSquares } from "./column-squares.ts";

export interface InputSquares extends Collector, Disposable {
  /** Adds the squares of the modules' input, if they are collected. */
  onInput(modules: readonly string[], input: Activations): Promise<void>;
  /** One number a column, by module; zero where no token came by. */
  read(readbacks: ReadbackRing): Promise<ReadonlyMap<string, Float32Array>>;
}

/** GPU bytes of the squares of these captures, and of what their sums go on from. */
export function inputSquaresBytes(captures: readonly Capture[]): number {
  return captures.reduce(
    (sum, { columns }) => sum + bufferBytes(columns * 4) + bufferBytes(columns * LANE_SUMS * 4),
    0,
  );
}

/** Allocates zero sums for the inputs of these captures. */
export async function openInputSquares(gpu: Gpu, captures: readonly Capture[]): Promise<InputSquares> {
  const requests = captures.map(({ modules, columns }) => ({
    label: `squares of ${modules[0]}'s input`,
    bytes: columns * 4,
  }));
  const lanes = captures.map(({ modules, columns }) => ({
    label: `squares of ${modules[0]}'s input by lane`,
    bytes: columns * LANE_SUMS * 4,
  }));
  const allocated = await allocateZeros(gpu, [...requests, ...lanes]);
  const seen = captures.map(() => 0);
  const indexOf = new Map(
    captures.flatMap(({ modules }, index) => modules.map((module) => [module, index] as const)),
  );
  return {
    async onInput(modules, input) {
      const index = indexOf.get(modules[0] ?? "") ?? -1;
      const [sums, laneSums] = [allocated[index], allocated[captures.length + index]];
      if (index < 0 || !sums || !laneSums || input.rows === 0) return;
      const before = seen[index] ?? 0;
      seen[index] = before + input.rows;
      await addColumnSquares(gpu, input, sums, laneSums, before);
    },
    async read(readbacks) {
      const squares = new Map<string, Float32Array>();
      for (const [index, { modules, columns }] of captures.entries()) {
        const sums = allocated[index];
        invariant(sums, "a buffer for each capture");
        const own = new Float32Array((await readbacks.readBytes(sums, 0, columns * 4)).buffer);
        for (const module of modules) squares.set(module, own);
      }
      return squares;
    },
    [Symbol.dispose]() {
      for (const buffer of allocated) buffer[Symbol.dispose]();
    },
  };
}
