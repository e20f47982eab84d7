import { expect, it } from "vitest";
import { inCuts, MANY_ROWS } from "../../testing/row-cuts.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { openInputChannels } from "./input-channels.ts";

it("finds what each channel reaches over all rows that come, of the inputs that are collected", async () => {
  using test = await openTestGpu();
  using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
  const [rows, columns, stride, offset] = [141, 67, 72, 4];
  // Some channels have one sign alone: their ranges do not reach to 0.
  const values = randomNormal(rows * stride + offset, seededRandom(7), 1).map(
    (value, index) => value + 2 * (((index - offset) % stride) % 5),
  );
  using buffer = await test.upload("activations", values);
  const capture = { modules: ["q", "k"], columns };
  const idle = { modules: ["idle"], columns: 3 };
  using channels = await openInputChannels(test.gpu, [capture, idle]);
  for (const [firstRow, count] of [
    [0, 110],
    [110, 31],
  ] as const) {
    const input = { buffer, rows: count, columns, stride, offset: offset + firstRow * stride };
    await channels.onInput?.(["q", "k"], input);
    await channels.onInput?.(["another"], input);
  }
  const found = await channels.read(readbacks, capture);
  expect(found.tokens).toBe(rows);
  expect(await channels.read(readbacks, idle)).toMatchObject({ tokens: 0, high: new Float32Array(3) });
  for (let column = 0; column < columns; column++) {
    const own = Array.from({ length: rows }, (_, row) => values[offset + row * stride + column] ?? 0);
    expect(found.low[column]).toBe(Math.min(...own));
    expect(found.high[column]).toBe(Math.max(...own));
    // float32 sums of 141 magnitudes
    const sum = own.reduce((total, value) => total + Math.abs(value), 0);
    expect((found.magnitude[column] ?? 0) / sum).toBeCloseTo(1, 5);
  }
});

it("adds up the same bits however rows are cut into inputs, in blocks of many rows too", async () => {
  using test = await openTestGpu();
  using readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 4096, pieces: 1 });
  const columns = 36;
  using buffer = await test.upload("activations", randomNormal(MANY_ROWS * columns, seededRandom(8), 3));
  const found = await inCuts(async (cuts) => {
    const capture = { modules: ["q"], columns };
    using channels = await openInputChannels(test.gpu, [capture]);
    for (const { first, rows } of cuts)
      await channels.onInput?.(["q"], { buffer, rows, columns, stride: columns, offset: first * columns });
    return await channels.read(readbacks, capture);
  });
  const [whole, ...others] = found;
  expect(whole?.tokens).toBe(MANY_ROWS);
  for (const other of others) expect(other).toEqual(whole);
});
