// A triangle on its way from one machine to another: pieces of a bounded size, of which each holds its rows up to the end of its
// own diagonal block. What lies behind that in its panel is zero, and does not go.

import { invariant } from "../../errors.ts";
import { PANEL_MULTIPLE } from "../panels.ts";
import type { TriangularLayout } from "./triangular-matrix.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Large enough for the rate of a network, small enough that several can be under way. */
const PIECE_BYTES = 16 * 1024 ** 2;

/** Neighbouring rows of a panel. */
export interface TrianglePiece {
  /** The panel's place among its matrix's. */
  readonly panel: number;
  /** Bytes of the panel in front of it. */
  readonly offset: number;
  readonly rows: number;
  /** Elements from row to row in the panel. */
  readonly stride: number;
  /** Elements of each row that go: up to the end of its diagonal block, by fours as rows begin. */
  readonly columns: number;
}

/** The pieces of a triangle in order; each is of whole diagonal blocks, and of one if that is more than `pieceBytes`. */
export function trianglePieces({ panels }: TriangularLayout, pieceBytes = PIECE_BYTES): TrianglePiece[] {
  return panels.flatMap(({ firstRow, rows, stride }, panel) => {
    const blocks = Math.max(Math.floor(pieceBytes / (stride * 4 * PANEL_MULTIPLE)), 1);
    const most = blocks * PANEL_MULTIPLE;
    return Array.from({ length: Math.ceil(rows / most) }, (_, index): TrianglePiece => {
      const first = index * most;
      const own = Math.min(most, rows - first);
      const columns = Math.ceil((firstRow + first + own) / 4) * 4;
      return { panel, offset: first * stride * 4, rows: own, stride, columns };
    });
  });
}

/** Bytes of a piece in its panel. */
export function heldBytes({ rows, stride }: TrianglePiece): number {
  return rows * stride * 4;
}

/** Bytes of a piece that go. */
export function sentBytes({ rows, columns }: TrianglePiece): number {
  return rows * columns * 4;
}

/** What goes of a piece. */
export function trimPiece(piece: TrianglePiece, held: Bytes): Bytes {
  return copyRows(piece, { bytes: held, elements: piece.stride }, piece.columns);
}

/** The piece as its panel holds it, zeros behind what went. */
export function spreadPiece(piece: TrianglePiece, sent: Bytes): Bytes {
  return copyRows(piece, { bytes: sent, elements: piece.columns }, piece.stride);
}

/** Rows of another length; the bytes themselves where it is the same. */
function copyRows(
  { rows, columns }: TrianglePiece,
  from: { readonly bytes: Bytes; readonly elements: number },
  elements: number,
): Bytes {
  invariant(from.bytes.byteLength === rows * from.elements * 4, "a piece has its rows");
  if (from.elements === elements) return from.bytes;
  const to = new Uint8Array(rows * elements * 4);
  for (let row = 0; row < rows; row++) {
    const start = row * from.elements * 4;
    to.set(from.bytes.subarray(start, start + columns * 4), row * elements * 4);
  }
  return to;
}
