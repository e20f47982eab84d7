import { expect, it } from "vitest";
import { inCuts, MANY_ROWS } from "../../testing/row-cuts.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { openInputSquares } from "./input-squares.ts";

it("adds up the squares of each column over all rows that come, of the inputs that are collected", async () => {
  using test = await openTestGpu();
  using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
  const [rows, columns, stride, offset] = [41, 67, 72, 4];
  const values = randomNormal(rows * stride + offset, seededRandom(7), 3);
  using buffer = await test.upload("activations", values);
  const capture = { modules: ["q", "k"], columns };
  using squares = await openInputSquares(test.gpu, [capture, { modules: ["idle"], columns: 3 }]);
  for (const [firstRow, count] of [
    [0, 30],
    [30, 11],
  ] as const) {
    const input = { buffer, rows: count, columns, stride, offset: offset + firstRow * stride };
    await squares.onInput(["q", "k"], input);
    await squares.onInput(["another"], input);
  }
  const found = await squares.read(readbacks);
  expect(found.get("k")).toBe(found.get("q"));
  expect(found.get("idle")).toEqual(new Float32Array(3));
  for (let column = 0; column < columns; column++) {
    let expected = 0;
    for (let row = 0; row < rows; row++) expected += (values[offset + row * stride + column] ?? 0) ** 2;
    // float32 sums of 41 squares
    expect((found.get("q")?.[column] ?? 0) / expected).toBeCloseTo(1, 5);
  }
});

it("adds up the same bits however rows are cut into inputs, in blocks of many rows too", async () => {
  using test = await openTestGpu();
  using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
  const columns = 36;
  using buffer = await test.upload("activations", randomNormal(MANY_ROWS * columns, seededRandom(8), 3));
  const found = await inCuts(async (cuts) => {
    using squares = await openInputSquares(test.gpu, [{ modules: ["q"], columns }]);
    for (const { first, rows } of cuts)
      await squares.onInput(["q"], { buffer, rows, columns, stride: columns, offset: first * columns });
    return await squares.read(readbacks);
  });
  const [whole, ...others] = found;
  expect(whole?.get("q")?.every((sum) => sum > MANY_ROWS)).toBe(true);
  for (const other of others) expect(other).toEqual(whole);
});
