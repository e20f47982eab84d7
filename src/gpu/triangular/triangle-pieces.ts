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

/** Copies what goes of a part of a piece, as its panel holds it from byte `position` of the piece on, to its place in `sent`. */
export function trimPart(
  { stride, columns }: TrianglePiece,
  { part, position }: { readonly part: Bytes; readonly position: number },
  sent: Bytes,
): void {
  const [rowBytes, sentRowBytes] = [stride * 4, columns * 4];
  const end = position + part.byteLength;
  for (let row = Math.floor(position / rowBytes); row * rowBytes < end; row++) {
    const start = row * rowBytes;
    const from = Math.max(start, position);
    const to = Math.min(start + sentRowBytes, end);
    if (from < to) sent.set(part.subarray(from - position, to - position), row * sentRowBytes + from - start);
  }
}

/** Fills a part of a piece, as its panel holds it from byte `position` of the piece on, with what went, and zeros behind it. */
export function spreadPart(
  { rows, stride, columns }: TrianglePiece,
  sent: Bytes,
  { part, position }: { readonly part: Bytes; readonly position: number },
): void {
  const [rowBytes, sentRowBytes] = [stride * 4, columns * 4];
  invariant(sent.byteLength === rows * sentRowBytes, "a piece has its rows");
  const end = position + part.byteLength;
  for (let row = Math.floor(position / rowBytes); row * rowBytes < end; row++) {
    const start = row * rowBytes;
    const from = Math.max(start, position);
    const to = Math.max(Math.min(start + sentRowBytes, end), from);
    const own = row * sentRowBytes + from - start;
    part.set(sent.subarray(own, own + to - from), from - position);
    part.fill(0, to - position, Math.min(start + rowBytes, end) - position);
  }
}
