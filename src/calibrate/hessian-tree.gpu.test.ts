import { expect, it } from "vitest";
import { panelBytes } from "../gpu/panels.ts";
import type { TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import { UploadRing } from "../gpu/staging.ts";
import { openTestGpu, type TestGpu } from "../testing/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../testing/random.ts";
import { type ChunkRange, nodesOf } from "./chunk-tree.ts";
import { openHessianTree } from "./hessian-tree.ts";

const [COLUMNS, STRIDE, CHUNKS, ROWS] = [130, 132, 5, 7];
const CAPTURE = { modules: ["q", "k"], columns: COLUMNS };
const VALUES = randomNormal(CHUNKS * ROWS * STRIDE, seededRandom(5), 2);

async function bytesOf(test: TestGpu, { layout, buffers }: TriangularMatrix): Promise<number[]> {
  const panels = [];
  for (const [index, panel] of layout.panels.entries()) {
    const buffer = buffers[index];
    if (buffer) panels.push(...(await test.readFloats(buffer, panelBytes(panel) / 4)));
  }
  return panels;
}

/** The Hessian as each of some shares ends with it, the others' sums taken as they have left them. */
async function shared(test: TestGpu, shares: readonly ChunkRange[]): Promise<number[][]> {
  using input = await test.upload("input", VALUES);
  using uploads = await UploadRing.create(test.gpu, { pieceBytes: 65_536, pieces: 1 });
  const trees = shares.map(() =>
    openHessianTree(test.gpu, [CAPTURE], {
      samples: CHUNKS,
      maxPanelBytes: 2 ** 27,
      chunkOf: ({ first }) => first,
    }),
  );
  const left = new Map<string, number[]>();
  for (const [at, { first, end }] of shares.entries()) {
    for (let chunk = first; chunk < end; chunk++) {
      trees[at]?.begin({ first: chunk, starts: [0, ROWS], tokens: ROWS, firstToken: 0 });
      const offset = chunk * ROWS * STRIDE;
      await trees[at]?.onInput(["q"], {
        buffer: input,
        stride: STRIDE,
        offset,
        rows: ROWS,
      });
    }
    await trees[at]?.finish();
    for (const sum of trees[at]?.sums(CAPTURE) ?? [])
      left.set(`${sum.first}-${sum.end}`, await bytesOf(test, sum.matrix));
  }
  const joined = [];
  for (const [at, own] of shares.entries()) {
    const others = shares.filter((share) => share !== own).flatMap(nodesOf);
    await trees[at]?.join(CAPTURE, others, async ({ first, end }, to) => {
      const floats = Float32Array.from(left.get(`${first}-${end}`) ?? []);
      const [buffer] = to.buffers;
      if (buffer) await uploads.write(new Uint8Array(floats.buffer), buffer);
    });
    const tree = trees[at];
    if (tree) joined.push(await bytesOf(test, tree.hessian(CAPTURE)));
    expect(tree?.tokens(CAPTURE)).toBe((own.end - own.first) * ROWS);
  }
  for (const tree of trees) tree[Symbol.dispose]();
  return joined;
}

it("gives the same bits whoever adds up which chunks, and the Hessian of all rows", async () => {
  using test = await openTestGpu();
  const [alone = []] = await shared(test, [{ first: 0, end: 5 }]);
  const splits = [
    [2, 5],
    [1, 3, 5],
    [1, 2, 3, 4, 5],
  ].map((ends) => ends.map((end, at) => ({ first: ends[at - 1] ?? 0, end })));
  for (const shares of splits) {
    for (const hessian of await shared(test, shares)) expect(hessian).toEqual(alone);
  }
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
