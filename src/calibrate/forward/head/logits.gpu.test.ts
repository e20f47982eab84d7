import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { capLogits } from "./logits.ts";
import { referenceCapLogits } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

async function compute(y: Float32Array, scale: number, softCap: number | null): Promise<Float32Array> {
  using buffer = await test.upload("logits", y);
  await capLogits(test.gpu, buffer, y.length, { scale, softCap });
  return await test.readFloats(buffer, y.length);
}

describe("scaling and capping logits", () => {
  const y = randomNormal(1001, seededRandom(2), 20);

  it.each([
    [0.0625, null],
    [1, 30],
    [-2, 0.5],
    [1e-4, 30],
  ])("agrees with float64, scale %d and cap %d", async (scale, softCap) => {
    const result = await compute(y, scale, softCap);
    for (const [index, expected] of referenceCapLogits(y, scale, softCap).entries()) {
      expect(Math.abs((result[index] ?? 0) - expected)).toBeLessThan(1e-6 * Math.abs(expected) + 1e-12);
    }
  });

  it("never exceeds the cap and keeps the order", async () => {
    const sorted = y.toSorted();
    const result = await compute(sorted, 3, 10);
    expect(result.every((value) => Math.abs(value) <= 10)).toBe(true);
    expect(result).toEqual(result.toSorted());
  });
});
