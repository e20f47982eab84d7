import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { multiplyByGate } from "./multiply-by-gate.ts";
import { referenceGate } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const [ROWS, COLUMNS, STRIDE, X, GATE] = [11, 20, 52, 28, 4];

describe("a gate", () => {
  it.each(["sigmoid", "silu"] as const)("multiplies the columns it is for by its %s", async (f) => {
    const before = randomNormal(ROWS * STRIDE, seededRandom(3), 3);
    before[GATE] = -200;
    using buffer = await test.upload("x", before);
    const x = { buffer, rows: ROWS, columns: COLUMNS, stride: STRIDE, offset: X };
    await multiplyByGate(test.gpu, x, GATE, f);
    const result = await test.readFloats(buffer);
    const part = (from: Float32Array, first: number) =>
      from.filter((_, index) => index % STRIDE >= first && index % STRIDE < first + COLUMNS);
    const expected = referenceGate(part(before, X), part(before, GATE), f);
    expect(relativeError(part(result, X), expected)).toBeLessThan(1e-6);
    const outside = (from: Float32Array) =>
      from.filter((_, index) => index % STRIDE < X || index % STRIDE >= X + COLUMNS);
    expect(outside(result)).toEqual(outside(before));
  });
});
