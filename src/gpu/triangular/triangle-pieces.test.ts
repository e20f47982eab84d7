import { describe, expect, it } from "vitest";
import { panelBytes } from "../panels.ts";
import { heldBytes, sentBytes, spreadPart, trianglePieces, trimPart } from "./triangle-pieces.ts";
import { layOutTriangle } from "./triangular-matrix.ts";

const PART_BYTES = 4096 + 20;

/** A panel's rows as a product leaves them: numbers up to the end of the diagonal block of 128, zeros behind it. */
function panelOf(
  firstRow: number,
  { rows, stride }: { readonly rows: number; readonly stride: number },
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    const end = Math.min(stride, (Math.floor((firstRow + row) / 128) + 1) * 128);
    for (let column = 0; column < end; column++)
      values[row * stride + column] = 1 + ((row * 31 + column) % 97);
  }
  return values;
}

describe("trianglePieces", () => {
  it.each([
    [600, 2 ** 31, 2 ** 18],
    [600, 300 * 600 * 4, 2 ** 20],
    [64, 2 ** 31, 2 ** 20],
    [130, 2 ** 31, 1],
  ])(
    "of a triangle of %i rows, panels of at most %i bytes, make it again",
    (n, maxPanelBytes, pieceBytes) => {
      const layout = layOutTriangle(n, maxPanelBytes);
      const panels = layout.panels.map((panel) => panelOf(panel.firstRow, panel));
      const arrived = layout.panels.map((panel) => new Uint8Array(panelBytes(panel)));
      for (const piece of trianglePieces(layout, pieceBytes)) {
        const { panel, offset } = piece;
        const bytes = new Uint8Array(panels[panel]?.buffer ?? new ArrayBuffer());
        const held = bytes.subarray(offset, offset + heldBytes(piece));
        const sent = new Uint8Array(sentBytes(piece));
        // As a ring reads it: in parts that end within rows.
        for (let position = 0; position < held.byteLength; position += PART_BYTES)
          trimPart(piece, { part: held.subarray(position, position + PART_BYTES), position }, sent);
        // As a ring is filled: memory that held something else before.
        const there = arrived[panel]?.fill(7, offset, offset + held.byteLength);
        for (let position = 0; position < held.byteLength; position += PART_BYTES) {
          const end = offset + Math.min(position + PART_BYTES, held.byteLength);
          spreadPart(piece, sent, { part: there?.subarray(offset + position, end) ?? sent, position });
        }
      }
      // By their bytes: value by value, a matcher takes a second for each panel.
      const differ = arrived.map((bytes, at) =>
        Buffer.compare(bytes, new Uint8Array(panels[at]?.buffer ?? new ArrayBuffer())),
      );
      expect(differ).toEqual(panels.map(() => 0));
    },
  );

  it("send little more than the triangle, in pieces of a bounded size", () => {
    const pieces = trianglePieces(layOutTriangle(14_336, 2 ** 31));
    const sent = pieces.reduce((sum, piece) => sum + sentBytes(piece), 0);
    expect(sent).toBeGreaterThan(14_336 ** 2 * 2);
    expect(sent).toBeLessThan(14_336 ** 2 * 2 * 1.05);
    expect(Math.max(...pieces.map(sentBytes))).toBeLessThanOrEqual(16 * 1024 ** 2);
  });
});
