import { expect, it } from "vitest";
import { panelBytes } from "../gpu/panels.ts";
import {
  addPiece,
  sentBytes,
  type TrianglePiece,
  trianglePieces,
  trimPiece,
} from "../gpu/triangular/triangle-pieces.ts";
import { layOutTriangle, type TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import { openTestGpu, type TestGpu } from "../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../testing/random.ts";
import { type ChunkRange, placeSums } from "./chunk-tree.ts";
import { type HessianTree, openHessianTree } from "./hessian-tree.ts";

const [COLUMNS, STRIDE, CHUNKS, ROWS] = [130, 132, 5, 7];
const CAPTURE = { modules: ["q", "k"], columns: COLUMNS };
const OPTIONS = {
  samples: CHUNKS,
  maxPanelBytes: 2 ** 27,
  chunkOf: ({ first }: { first: number }) => first,
};
const VALUES = randomNormal(CHUNKS * ROWS * STRIDE, seededRandom(5), 2);

async function bytesOf(test: TestGpu, { layout, buffers }: TriangularMatrix): Promise<number[]> {
  const panels = [];
  for (const [index, panel] of layout.panels.entries()) {
    const buffer = buffers[index];
    if (buffer) panels.push(...(await test.readFloats(buffer, panelBytes(panel) / 4)));
  }
  return panels;
}

/** The Hessian as the owner among some shares ends with it, which give each other their sums piece by piece. */
async function shared(test: TestGpu, shares: readonly ChunkRange[], owner: number): Promise<number[]> {
  using input = await test.upload("input", VALUES);
  const trees = shares.map(() => openHessianTree(test.gpu, [CAPTURE], OPTIONS));
  const given = new Map<string, PromiseWithResolvers<Uint8Array>>();
  const sent = ({ first, end }: ChunkRange, { index }: TrianglePiece) => {
    const name = `${first}-${end}-${index}`;
    const bytes = given.get(name) ?? Promise.withResolvers<Uint8Array>();
    given.set(name, bytes);
    return bytes;
  };
  const give = async (matrix: TriangularMatrix, piece: TrianglePiece) => {
    const [panel] = matrix.buffers;
    using own = await test.empty("piece", sentBytes(piece));
    if (panel) await trimPiece(test.gpu, piece, panel, own);
    return await test.readBytes(own);
  };
  const root = await placeSums(shares, owner);
  for (const [at, { first, end }] of shares.entries()) {
    for (let chunk = first; chunk < end; chunk++) {
      trees[at]?.begin({ first: chunk, starts: [0, ROWS], tokens: ROWS, firstToken: 0 });
      const offset = chunk * ROWS * STRIDE;
      await trees[at]?.onInput(["q"], { buffer: input, stride: STRIDE, offset, rows: ROWS });
    }
    await trees[at]?.finish();
  }
  const pieces = trianglePieces(layOutTriangle(COLUMNS, OPTIONS.maxPanelBytes), 40 * STRIDE * 4);
  expect(pieces.length).toBe(4);
  const joinAll = async (tree: HessianTree, place: number) => {
    for (const piece of pieces)
      await tree.join(CAPTURE, root, piece, {
        place,
        async add(sum, own, { buffers: [panel] }) {
          const bytes = await sent(sum, own).promise;
          using came = await test.upload("came", bytes);
          if (panel)
            await addPiece(test.gpu, own, { rows: came, position: 0, bytes: bytes.byteLength }, panel);
          await test.gpu.queue.flush();
        },
        give: ({ matrix, ...sum }, own) => void give(matrix, own).then(sent(sum, own).resolve),
      });
    if (place === owner) tree.joined(CAPTURE, root, place);
  };
  await Promise.all(trees.map(joinAll));
  const [tree, own] = [trees[owner], shares[owner]];
  const joined = tree ? await bytesOf(test, tree.hessian(CAPTURE)) : [];
  expect(tree?.tokens(CAPTURE)).toBe(((own?.end ?? 0) - (own?.first ?? 0)) * ROWS);
  for (const each of trees) each[Symbol.dispose]();
  return joined;
}

it("gives the same bits whoever adds up which chunks, and the Hessian of all rows", async () => {
  using test = await openTestGpu();
  const alone = await shared(test, [{ first: 0, end: 5 }], 0);
  const splits = [
    [2, 5],
    [1, 3, 5],
    [1, 2, 3, 4, 5],
  ].map((ends) => ends.map((end, at) => ({ first: ends[at - 1] ?? 0, end })));
  for (const shares of splits)
    for (const owner of [0, shares.length - 1]) expect(await shared(test, shares, owner)).toEqual(alone);
  for (const [row, column] of [
    [0, 0],
    [77, 3],
    [129, 128],
  ] as const) {
    let expected = 0;
    for (let at = 0; at < CHUNKS * ROWS; at++)
      expected += ((VALUES[at * STRIDE + row] ?? 0) * (VALUES[at * STRIDE + column] ?? 0) * 2) / CHUNKS;
    // float32 sums of 35 products
    expect(alone[row * 132 + column]).toBeCloseTo(expected, 3);
  }
});
