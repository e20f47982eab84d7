import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Activation } from "../../../model/decoder-description.ts";
import { openTestGpu, type TestGpu } from "../../../testing/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { activate } from "./activate.ts";
import { referenceActivation } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const ROWS = 21;
const COLUMNS = 20;
const STRIDE = 2 * COLUMNS + 4;
const ACTIVATIONS: readonly Activation[] = ["silu", "gelu", "gelu_tanh", "relu"];

async function compute(activation: Activation, x: Float32Array, gated: boolean): Promise<Float32Array> {
  using buffer = await test.upload("x", x);
  const matrix = { buffer, rows: ROWS, columns: COLUMNS, stride: STRIDE };
  await activate(test.gpu, activation, matrix, gated ? COLUMNS : null);
  return await test.readFloats(buffer);
}

describe.each(ACTIVATIONS)("%s", (activation) => {
  const x = randomNormal(ROWS * STRIDE, seededRandom(3), 4);

  it.each([true, false])("agrees with float64, gated %s", async (gated) => {
    const result = await compute(activation, x, gated);
    for (const [index, value] of result.entries()) {
      const before = x[index] ?? 0;
      const factor = gated ? (x[index + COLUMNS] ?? 0) : 1;
      const inside = index % STRIDE < COLUMNS;
      const expected = inside ? referenceActivation(activation, before) * factor : before;
      expect(Math.abs(value - expected)).toBeLessThan(1e-6 * (1 + Math.abs(before * factor)));
    }
  });

  it("stays finite and keeps its limits far from zero", async () => {
    const far = x.slice();
    far.set([-1e4, -200, -90, 90, 200, 1e4, 0]);
    const [a, b, c, d, e, f, zero] = await compute(activation, far, false);
    for (const low of [a, b, c]) expect(low).toBeCloseTo(0, 6);
    expect([d, e, f, zero]).toEqual([90, 200, 1e4, 0]);
  });
});
