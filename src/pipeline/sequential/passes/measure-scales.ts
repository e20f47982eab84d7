// Static scales of activations and of the key-value cache, from what calibration saw.

import type { Activations } from "../../../calibrate/forward/layer-weights.ts";
import {
  type ActivationRanges,
  joinRanges,
  type Range,
} from "../../../calibrate/ranges/activation-ranges.ts";
import { hasGlobalScale } from "../../../formats/schemes/compression-format.ts";
import { narrowFromFloat32, roundTo } from "../../../formats/numbers/dtype.ts";
import { globalScale } from "../../../formats/numbers/global-scale.ts";
import type { ReadbackRing } from "../../../gpu/staging/readback-ring.ts";
import { qparamsOfRanges } from "../../../quantize/rtn/reference.ts";
import type { Collector } from "../../../calibrate/collector.ts";
import { cacheNames, headName, inputName, type StaticScale } from "../../calibration/layers/static-scales.ts";

/** Tells ranges of a layer's inputs, and of its keys and values; what is not observed is skipped. */
export function rangeCollector(ranges: ActivationRanges): Collector {
  return {
    begin: (batch) => ranges.begin(batch),
    onInput: async (modules, input) => await ranges.observe(inputName(modules), input),
    async onKeyValue(module, keys, values, kvHeads) {
      const names = cacheNames(module);
      await observeCache(ranges, names.k, keys, kvHeads);
      await observeCache(ranges, names.v, values, kvHeads);
    },
  };
}

/** Observes keys or values as a whole and head by head. */
async function observeCache(
  ranges: ActivationRanges,
  name: string,
  values: Activations,
  heads: number,
): Promise<void> {
  await ranges.observe(name, values);
  const columns = values.columns / heads;
  const { offset = 0 } = values;
  for (let head = 0; head < heads; head++) {
    await ranges.observe(headName(name, head), { ...values, columns, offset: offset + head * columns });
  }
}

/** Reads the ranges of all scales and writes the tensors. */
export async function writeStaticScales(
  scales: readonly StaticScale[],
  ranges: ActivationRanges,
  readbacks: ReadbackRing,
  write: (tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>) => void,
): Promise<void> {
  for (const { observed, args, dtype, prefix } of scales) {
    const round = (value: number) => roundTo(dtype, value);
    const joined: Range[] = [];
    for (const name of observed) {
      joined.push(joinRanges(await ranges.read(readbacks, name), args.observer, round));
    }
    const low = Float32Array.from(joined, (range) => range[0]);
    const high = Float32Array.from(joined, (range) => range[1]);
    if (hasGlobalScale(args)) {
      const scale = globalScale(Math.max(-Math.min(...low), ...high), dtype);
      write(`${prefix}_global_scale`, 0, narrowFromFloat32("F32", Float32Array.of(scale)));
      continue;
    }
    const cell = { low, high };
    const { scales: values, zeroPoints } = qparamsOfRanges(cell, args, dtype);
    write(`${prefix}_scale`, 0, narrowFromFloat32(dtype, values));
    if (!args.symmetric) write(`${prefix}_zero_point`, 0, new Uint8Array(Int8Array.from(zeroPoints).buffer));
  }
}
