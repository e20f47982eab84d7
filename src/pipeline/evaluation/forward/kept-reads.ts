// What was read of some layers, kept for the check that computes them once more, so that it need not be read again.

import { type StoredModel, tensorBytes } from "../../../evaluate/weights/stored-model.ts";

export interface KeptReads {
  /** The model, of which reads are kept while they may be. */
  readonly model: StoredModel;
  /** Lets so many more bytes be kept; what goes beyond them is not, until it is said again. */
  keep(bytes: number): void;
  /** A model that gives what was kept, and reads the rest. */
  over(model: StoredModel): StoredModel;
}

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export function keepReads(model: StoredModel): KeptReads {
  const kept = new Map<string, Piece[]>();
  let room = 0;
  return {
    model: {
      ...model,
      async read(name, span) {
        const bytes = await model.read(name, span);
        const pieces = kept.get(name) ?? [];
        const start = span?.start ?? 0;
        const isKnown = pieces.some((piece) => piece.start === start);
        if (bytes.byteLength > room || isKnown) return bytes;
        room -= bytes.byteLength;
        kept.set(name, [...pieces, { start, bytes }]);
        return bytes;
      },
    },
    keep(bytes) {
      room = bytes;
    },
    over: (under) => ({
      ...under,
      async read(name, span) {
        const asked = span ?? { start: 0, end: tensorBytes(under.tensor(name)) };
        return assemble(kept.get(name) ?? [], asked) ?? (await under.read(name, span));
      },
    }),
  };
}

/** A copy of a span, if the pieces hold all of it. */
function assemble(
  pieces: readonly Piece[],
  { start, end }: { readonly start: number; readonly end: number },
): Uint8Array<ArrayBuffer> | null {
  if (pieces.length === 0) return null;
  const whole = new Uint8Array(end - start);
  let at = start;
  for (const piece of pieces.toSorted((a, b) => a.start - b.start)) {
    const pieceEnd = piece.start + piece.bytes.byteLength;
    if (pieceEnd <= at || at >= end) continue;
    if (piece.start > at) return null;
    const to = Math.min(pieceEnd, end);
    whole.set(piece.bytes.subarray(at - piece.start, to - piece.start), at - start);
    at = to;
  }
  return at >= end ? whole : null;
}
