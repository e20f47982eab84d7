// A layer on the host whose tensors take factors. Until the last ones come the original bytes stay beside what they became, so that
// folds of several modifiers are multiplied first and rounded once.

import { allEnded } from "../all-ended.ts";
import { CalibrationError, invariant } from "../errors.ts";
import { DTYPE_BITS, isFloatDtype } from "../formats/numbers/dtype.ts";
import { type Fold, foldPiece, foldsOfRows, type PieceOfTensor } from "../formats/weights/fold.ts";
import type { HostBytes } from "./host-bytes.ts";
import type { HostLayer } from "./host-layer.ts";

/** Tensors take their factors in rows of about so many bytes. */
const PIECE_BYTES = 1024 ** 2;
/** Pieces on their way at once: two for each of as many threads as there are at most. */
const LANES = 16;

export interface FoldedLayer {
  /** All folds so far, in their order. */
  readonly folds: readonly Fold[];
  /**
   * Replaces what the tensors hold on the host by the original with all of its folds.
   * @param last true if no more come: then nothing keeps the originals
   * @param isHere false for tensors that take their factors elsewhere, and stay on the host as they are; all are folded here if absent
   * @throws CalibrationError if a float16 does not reach as far as a factor takes it; nothing is written any more then
   */
  add(folds: readonly Fold[], last: boolean, isHere?: (tensor: string) => boolean): Promise<void>;
}

/** A piece whose bytes are still to be copied. */
export type UncopiedPiece = Omit<PieceOfTensor, "bytes"> & { readonly byteLength: number };

/** Folds a piece. `copy` gives its bytes, to be written to or given away; another time, if something has become of them. */
export type FoldPiece = (
  piece: UncopiedPiece,
  copy: () => Uint8Array<ArrayBuffer>,
) => Promise<Uint8Array<ArrayBuffer>>;

export interface FoldingServices {
  readonly fold: FoldPiece;
  /** Waits while paused; throws once cancelled. */
  readonly checkpoint: () => Promise<void>;
}

/** In the thread that asks. */
const HERE: FoldingServices = {
  fold: async (piece, copy) => await Promise.resolve(foldPiece({ ...piece, bytes: copy() })),
  checkpoint: async () => await Promise.resolve(),
};

export function foldLayer(host: HostLayer, services: FoldingServices = HERE): FoldedLayer {
  const originals = new Map<string, HostBytes>();
  const folds: Fold[] = [];
  return {
    folds,
    async add(more, last, isHere = () => true) {
      folds.push(...more);
      const originalOf = (name: string, bytes: HostBytes) => {
        const original = originals.get(name) ?? (last ? bytes : copied(host, bytes));
        originals.set(name, original);
        return original;
      };
      const changed = new Set(more.map(({ tensor }) => tensor).filter(isHere));
      // A lane that fails ends the generator, and so the others.
      const pieces = piecesOf(host, changed, folds, originalOf);
      await allEnded(Array.from({ length: LANES }, async () => await foldLane(pieces, services)));
    },
  };
}

/** A piece, where it comes from, and where it goes. */
interface PlacedPiece extends UncopiedPiece {
  readonly name: string;
  readonly start: number;
  readonly from: HostBytes;
  readonly to: HostBytes;
}

function* piecesOf(
  host: HostLayer,
  changed: Iterable<string>,
  folds: readonly Fold[],
  originalOf: (name: string, bytes: HostBytes) => HostBytes,
): Generator<PlacedPiece, undefined> {
  for (const name of changed) {
    const tensor = host.tensors.get(name);
    invariant(tensor && isFloatDtype(tensor.dtype), `${name} is a floating-point tensor of the layer`);
    const { dtype, columns, bytes: to } = tensor;
    const from = originalOf(name, to);
    const all = folds.filter((fold) => fold.tensor === name);
    const rowBytes = (columns * DTYPE_BITS[dtype]) / 8;
    for (const { start, end } of ranges(to.byteLength, rowBytes)) {
      const byteLength = end - start;
      const own = foldsOfRows(all, start / rowBytes, byteLength / rowBytes);
      yield { name, dtype, columns, folds: own, byteLength, start, from, to };
    }
  }
}

/** Folds pieces until none is left, in memory that goes from one to the next. */
async function foldLane(pieces: Iterable<PlacedPiece>, { fold, checkpoint }: FoldingServices): Promise<void> {
  let memory = new ArrayBuffer();
  for (const { name, start, from, to, ...piece } of pieces) {
    await checkpoint();
    const { byteLength } = piece;
    const folded = await fold(piece, () => {
      if (memory.byteLength < byteLength) memory = new ArrayBuffer(byteLength);
      const bytes = new Uint8Array(memory, 0, byteLength);
      bytes.set(from.read(start, start + byteLength));
      return bytes;
    });
    if (piece.dtype === "F16") checkRange(name, folded);
    to.write(start, folded);
    memory = folded.buffer;
  }
}

function copied(host: HostLayer, bytes: HostBytes): HostBytes {
  const copy = host.allocate(bytes.byteLength);
  for (const { start, end } of ranges(bytes.byteLength, 1)) copy.write(start, bytes.read(start, end));
  return copy;
}

/** Ranges of whole rows. */
function* ranges(byteLength: number, rowBytes: number): Generator<{ start: number; end: number }> {
  const pieceBytes = Math.max(Math.floor(PIECE_BYTES / rowBytes), 1) * rowBytes;
  for (let start = 0; start < byteLength; start += pieceBytes)
    yield { start, end: Math.min(start + pieceBytes, byteLength) };
}

/** Bits of a float16's exponent: all are set in what is infinite, or no number. */
const F16_EXPONENT = 0x7c00;

function checkRange(name: string, bytes: Uint8Array<ArrayBuffer>): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  if (!halves.some((bits) => (bits & F16_EXPONENT) === F16_EXPONENT)) return;
  throw new CalibrationError(
    `${name} is float16, which ends at 65504, and a factor that was to move into it takes it further. Use a smaller smoothing_strength, add the module to the modifier's ignore, or take the model in bfloat16.`,
  );
}
