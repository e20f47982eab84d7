import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { matmul } from "./matmul.ts";
import { matmulPair } from "./matmul-batches.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

/** More than one tile in both directions, the last of them not full, and a k that is not whole steps. */
const [M, N, K] = [150, 140, 40];
/** Where results lie in each row, with values before, between and behind them that are others'. */
const [ROW, FIRST, SECOND] = [300, 8, 156];

describe("matmulPair", () => {
  it("gives the bits of two products, of any weights that lie alike", async () => {
    const random = seededRandom(11);
    const weight = () => narrowFromFloat32("BF16", randomNormal(N * K, random));
    const before = randomNormal(M * ROW, random);
    using a = await test.upload("a", randomNormal(M * K, random));
    using b = await test.upload("b", weight());
    using second = await test.upload("second b", weight());
    using pair = await test.upload("pair", before);
    using single = await test.upload("single", before);
    const shape = { m: M, n: N, k: K, a: { buffer: a, stride: K }, alpha: 0.5, bDtype: "BF16" } as const;
    const rights = [
      { buffer: b, stride: K },
      { buffer: second, stride: K },
    ] as const;
    const results = [
      { buffer: pair, stride: ROW, offset: FIRST },
      { buffer: pair, stride: ROW, offset: SECOND },
    ] as const;
    await matmulPair(test.gpu, { ...shape, b: rights, c: results });
    for (const [index, { offset }] of results.entries()) {
      const right = rights[index] ?? rights[0];
      await matmul(test.gpu, { ...shape, b: right, c: { buffer: single, stride: ROW, offset } }, "direct");
    }
    const found = await test.readFloats(pair);
    expect(found).toEqual(await test.readFloats(single));
    expect(found).not.toEqual(before);
  });
});
