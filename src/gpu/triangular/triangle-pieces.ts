// A triangle on its way from one machine to another: pieces of a bounded size, of which each holds its rows up to the end of its
// last diagonal block. What lies behind that in its panel is zero, and does not go.

import { add } from "../elements/add.ts";
import type { Gpu } from "../gpu.ts";
import { kernel, spreadWorkgroups } from "../kernel.ts";
import type { LedgerBuffer } from "../memory.ts";
import { PANEL_MULTIPLE } from "../panels.ts";
import { struct } from "../struct.ts";
import addCode from "./add-piece.wgsl?raw";
import type { TriangularLayout } from "./triangular-matrix.ts";
import trimCode from "./trim-piece.wgsl?raw";

/** Large enough for the rate of a network, small enough that several can be under way. */
export const PIECE_BYTES = 16 * 1024 ** 2;

const WORKGROUP = 64;

export const trimPieceKernel = kernel({
  name: "triangular.trim-piece",
  code: [trimCode],
  params: struct({ first: "u32", end: "u32", offset: "u32", columns: "u32", stride: "u32" }),
  bindings: { panel: "read", rows: "read_write" },
});

export const addPieceKernel = kernel({
  name: "triangular.add-piece",
  code: [addCode],
  params: struct({ first: "u32", end: "u32", begin: "u32", offset: "u32", columns: "u32", stride: "u32" }),
  bindings: { rows: "read", panel: "read_write" },
});

/** Neighbouring rows of a panel. */
export interface TrianglePiece {
  /** Its place among the pieces of its triangle. */
  readonly index: number;
  /** The panel's place among its matrix's. */
  readonly panel: number;
  /** Elements of the panel in front of it. */
  readonly offset: number;
  readonly rows: number;
  /** Elements from row to row in the panel. */
  readonly stride: number;
  /** Elements of each row that go: up to the end of its last diagonal block, by fours as rows begin. */
  readonly columns: number;
}

/** The pieces of a triangle in order, of at most `pieceBytes` or one row each. */
export function trianglePieces({ panels }: TriangularLayout, pieceBytes = PIECE_BYTES): TrianglePiece[] {
  const pieces: TrianglePiece[] = [];
  for (const [panel, { firstRow, rows, stride }] of panels.entries()) {
    const fitting = Math.max(Math.floor(pieceBytes / (stride * 4)), 1);
    const most = fitting < PANEL_MULTIPLE ? fitting : fitting - (fitting % PANEL_MULTIPLE);
    for (let first = 0; first < rows; first += most) {
      const own = Math.min(most, rows - first);
      const blocks = Math.ceil((firstRow + first + own) / PANEL_MULTIPLE) * PANEL_MULTIPLE;
      const columns = Math.min(blocks, stride);
      pieces.push({ index: pieces.length, panel, offset: first * stride, rows: own, stride, columns });
    }
  }
  return pieces;
}

/** Bytes of a piece that go. */
export function sentBytes({ rows, columns }: TrianglePiece): number {
  return rows * columns * 4;
}

/** Puts what goes of a piece of a panel into `rows`. */
export async function trimPiece(
  gpu: Gpu,
  { offset, columns, stride, ...piece }: TrianglePiece,
  panel: LedgerBuffer,
  rows: LedgerBuffer,
): Promise<void> {
  for (const { first, end } of gpu.queue.split(trimPieceKernel, piece.rows * columns, 1)) {
    await gpu.queue.run(trimPieceKernel, {
      params: { first, end, offset, columns, stride },
      buffers: { panel, rows },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}

/** Adds bytes of what came of a piece, which `rows` has, to a panel; they are those from byte `position` of the piece on. */
export async function addPiece(
  gpu: Gpu,
  { offset, columns, stride }: TrianglePiece,
  {
    rows,
    position,
    bytes,
  }: { readonly rows: LedgerBuffer; readonly position: number; readonly bytes: number },
  panel: LedgerBuffer,
): Promise<void> {
  const begin = position / 4;
  for (const part of gpu.queue.split(addPieceKernel, bytes / 4, 1)) {
    const [first, end] = [begin + part.first, begin + part.end];
    await gpu.queue.run(addPieceKernel, {
      params: { first, end, begin, offset, columns, stride },
      buffers: { rows, panel },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}

/** Adds a piece of a panel to the same piece of another one. */
export async function addHeldPiece(
  gpu: Gpu,
  { offset, rows, stride }: TrianglePiece,
  values: LedgerBuffer,
  sums: LedgerBuffer,
): Promise<void> {
  await add(gpu, values, sums, { first: offset, end: offset + rows * stride });
}
