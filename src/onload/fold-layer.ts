// A layer on the host whose tensors take factors. Until the last ones come the original bytes stay beside what they became, so that
// folds of several modifiers are multiplied first and rounded once.

import { CalibrationError, invariant } from "../errors.ts";
import { DTYPE_BITS, isFloatDtype } from "../formats/dtype.ts";
import { type Fold, foldRows } from "../formats/fold.ts";
import type { HostBytes } from "./host-bytes.ts";
import type { HostLayer } from "./layer-weights.ts";

/** Tensors take their factors in rows of about so many bytes. */
const PIECE_BYTES = 4 * 1024 ** 2;

export interface FoldedLayer {
  /** All folds so far, in their order. */
  readonly folds: readonly Fold[];
  /**
   * Replaces what the tensors hold on the host by the original with all of its folds.
   * @param last true if no more come: then nothing keeps the originals
   * @throws CalibrationError if a float16 does not reach as far as a factor takes it
   */
  add(folds: readonly Fold[], last: boolean): void;
}

export function foldLayer(host: HostLayer): FoldedLayer {
  const originals = new Map<string, HostBytes>();
  const folds: Fold[] = [];
  return {
    folds,
    add(more, last) {
      folds.push(...more);
      let piece = new Uint8Array();
      for (const name of new Set(more.map(({ tensor }) => tensor))) {
        const tensor = host.tensors.get(name);
        invariant(tensor && isFloatDtype(tensor.dtype), `${name} is a floating-point tensor of the layer`);
        const { dtype, columns, bytes } = tensor;
        const original = originals.get(name) ?? (last ? bytes : copied(host, bytes));
        originals.set(name, original);
        const own = folds.filter((fold) => fold.tensor === name);
        const rowBytes = (columns * DTYPE_BITS[dtype]) / 8;
        for (const { start, end } of pieces(bytes.byteLength, rowBytes)) {
          const rows = { dtype, columns, firstRow: start / rowBytes };
          if (piece.byteLength < end - start) piece = new Uint8Array(end - start);
          const into = piece.subarray(0, end - start);
          const folded = foldRows(original.read(start, end), rows, own, into);
          if (dtype === "F16") checkRange(name, folded);
          bytes.write(start, folded);
        }
      }
    },
  };
}

function copied(host: HostLayer, bytes: HostBytes): HostBytes {
  const copy = host.allocate(bytes.byteLength);
  for (const { start, end } of pieces(bytes.byteLength, 1)) copy.write(start, bytes.read(start, end));
  return copy;
}

/** Ranges of whole rows. */
function* pieces(byteLength: number, rowBytes: number): Generator<{ start: number; end: number }> {
  const pieceBytes = Math.max(Math.floor(PIECE_BYTES / rowBytes), 1) * rowBytes;
  for (let start = 0; start < byteLength; start += pieceBytes)
    yield { start, end: Math.min(start + pieceBytes, byteLength) };
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
