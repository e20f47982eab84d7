import { describe, expect, it } from "vitest";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { allocatePanels, panelBytes } from "../panels.ts";
import { addHeldPiece, addPiece, sentBytes, trianglePieces, trimPiece } from "./triangle-pieces.ts";
import { layOutTriangle, type TriangularLayout, type TriangularMatrix } from "./triangular-matrix.ts";

/** Panels as a product leaves them: numbers up to the end of each row's diagonal block of 128, zeros behind it. */
function valuesOf({ panels }: TriangularLayout, seed: number): Float32Array<ArrayBuffer>[] {
  return panels.map(({ firstRow, rows, stride }) => {
    const values = new Float32Array(rows * stride);
    for (let row = 0; row < rows; row++) {
      const end = Math.min(stride, (Math.floor((firstRow + row) / 128) + 1) * 128);
      for (let column = 0; column < end; column++)
        values[row * stride + column] = 1 + ((row * 31 + column * seed) % 97);
    }
    return values;
  });
}

async function upload(
  test: TestGpu,
  layout: TriangularLayout,
  values: readonly Float32Array<ArrayBuffer>[],
): Promise<TriangularMatrix> {
  const matrix = await allocatePanels(test.gpu.memory, "triangle", layout);
  for (const [panel, buffer] of matrix.buffers.entries())
    await test.gpu.queue.write(new Uint8Array(values[panel]?.buffer ?? new ArrayBuffer()), buffer);
  return matrix;
}

describe("trianglePieces", () => {
  it.each([
    [300, 2 ** 31, 2 ** 16],
    [300, 150 * 300 * 4, 2 ** 20],
    [64, 2 ** 31, 2 ** 20],
    [130, 2 ** 31, 40 * 132 * 4],
    [130, 2 ** 31, 1],
  ])(
    "of a triangle of %i rows, panels of at most %i bytes, add up with another one",
    async (n, most, bytes) => {
      using test = await openTestGpu();
      const layout = layOutTriangle(n, most);
      const [own, other] = [valuesOf(layout, 1), valuesOf(layout, 5)];
      using sums = await upload(test, layout, own);
      using given = await upload(test, layout, other);
      for (const piece of trianglePieces(layout, bytes)) {
        expect(sentBytes(piece)).toBeLessThanOrEqual(Math.max(bytes, piece.stride * 4));
        const [to, from] = [sums.buffers[piece.panel], given.buffers[piece.panel]];
        if (!to || !from) continue;
        using rows = await test.empty("rows", sentBytes(piece));
        await trimPiece(test.gpu, piece, from, rows);
        // As it comes, in two parts, and once more as it is held.
        const cut = Math.ceil(sentBytes(piece) / 8) * 4;
        using part = await test.empty("part", cut);
        for (const position of [0, cut]) {
          const length = Math.min(cut, sentBytes(piece) - position);
          if (length === 0) continue;
          await test.gpu.queue.copy({ of: rows, offset: position }, { of: part, offset: 0 }, length);
          await addPiece(test.gpu, piece, { rows: part, position, bytes: length }, to);
        }
        await addHeldPiece(test.gpu, piece, from, to);
        await test.gpu.queue.flush();
      }
      for (const [panel, buffer] of sums.buffers.entries()) {
        const expected = own[panel]?.map((value, index) => value + 2 * (other[panel]?.[index] ?? 0));
        const seen = await test.readFloats(buffer);
        expect(seen.every((value, index) => value === expected?.[index])).toBe(true);
      }
    },
  );

  it("send little more than the triangle, in pieces of a bounded size", () => {
    const layout = layOutTriangle(14_336, 2 ** 31);
    const pieces = trianglePieces(layout);
    const sent = pieces.reduce((sum, piece) => sum + sentBytes(piece), 0);
    expect(sent).toBeGreaterThan(14_336 ** 2 * 2);
    expect(sent).toBeLessThan(14_336 ** 2 * 2 * 1.05);
    expect(Math.max(...pieces.map(sentBytes))).toBeLessThanOrEqual(16 * 1024 ** 2);
    // More columns than a piece has of a diagonal block.
    const wide = trianglePieces(layOutTriangle(53_248, 2 ** 31));
    expect(Math.max(...wide.map(sentBytes))).toBeLessThanOrEqual(16 * 1024 ** 2);
    expect(layout.panels.reduce((sum, panel) => sum + panelBytes(panel), 0)).toBeGreaterThan(sent);
  });
});
