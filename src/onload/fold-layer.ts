// A layer in host memory whose tensors take factors. The original bytes stay beside what they became, so that folds of several
// modifiers are multiplied first and rounded once.

import { CalibrationError, invariant } from "../errors.ts";
import { isFloatDtype } from "../formats/dtype.ts";
import { type Fold, foldRows } from "../formats/fold.ts";
import type { HostLayer } from "./layer-weights.ts";

export interface FoldedLayer {
  /** All folds so far, in their order. */
  readonly folds: readonly Fold[];
  /**
   * Replaces what the tensors hold in host memory by the original with all of its folds.
   * @throws CalibrationError if a float16 does not reach as far as a factor takes it
   */
  add(folds: readonly Fold[]): void;
}

export function foldLayer(host: HostLayer): FoldedLayer {
  const originals = new Map<string, Uint8Array<ArrayBuffer>>();
  const folds: Fold[] = [];
  return {
    folds,
    add(more) {
      folds.push(...more);
      for (const name of new Set(more.map(({ tensor }) => tensor))) {
        const tensor = host.tensors.get(name);
        invariant(tensor && isFloatDtype(tensor.dtype), `${name} is a floating-point tensor of the layer`);
        const original = originals.get(name) ?? tensor.bytes.slice();
        originals.set(name, original);
        const { dtype, columns } = tensor;
        const own = folds.filter((fold) => fold.tensor === name);
        tensor.bytes.set(foldRows(original, { dtype, columns, firstRow: 0 }, own));
        if (dtype === "F16") checkRange(name, tensor.bytes);
      }
    },
  };
}

/** Bits of a float16's exponent: all are set in what is infinite, or no number. */
const F16_EXPONENT = 0x7c00;

function checkRange(name: string, bytes: Uint8Array<ArrayBuffer>): void {
  const halves = new Uint16Array(bytes.slice().buffer);
  if (!halves.some((bits) => (bits & F16_EXPONENT) === F16_EXPONENT)) return;
  throw new CalibrationError(
    `${name} is float16, which ends at 65504, and a factor that was to move into it takes it further. Use a smaller smoothing_strength, add the module to the modifier's ignore, or take the model in bfloat16.`,
  );
}
