import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ActivationFunction, ClampedSwiglu } from "../../../model/decoder-description.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { activate } from "./activate.ts";
import { referenceActivation, referenceClampedSwiglu, referenceXielu } from "./reference.ts";
import { xielu } from "./xielu.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const ROWS = 21;
const COLUMNS = 20;
const STRIDE = 2 * COLUMNS + 4;
const ACTIVATIONS: readonly ActivationFunction[] = ["silu", "gelu", "gelu_tanh", "relu", "relu2"];

async function compute(
  activation: ActivationFunction | ClampedSwiglu,
  x: Float32Array,
  gated: boolean,
): Promise<Float32Array> {
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
      expect(Math.abs(value - expected)).toBeLessThan(
        1e-6 * (1 + Math.abs(before * factor) + Math.abs(expected)),
      );
    }
  });

  it("stays finite and keeps its limits far from zero", async () => {
    const far = x.slice();
    far.set([-1e4, -200, -90, 90, 200, 1e4, 0]);
    const [a, b, c, d, e, f, zero] = await compute(activation, far, false);
    for (const low of [a, b, c]) expect(low).toBeCloseTo(0, 6);
    const high = [90, 200, 1e4, 0].map((value) => (activation === "relu2" ? value * value : value));
    expect([d, e, f, zero]).toEqual(high);
  });
});

describe("clamped swiglu", () => {
  it("agrees with float64, beyond its limits too", async () => {
    const activation = { kind: "clamped-swiglu", alpha: 1.702, limit: 7 } as const;
    const x = randomNormal(ROWS * STRIDE, seededRandom(6), 6);
    x.set([-1e4, -60, 0, 7, 1e4]);
    const result = await compute(activation, x, true);
    for (const [index, value] of result.entries()) {
      const before = x[index] ?? 0;
      const up = x[index + COLUMNS] ?? 0;
      const expected = index % STRIDE < COLUMNS ? referenceClampedSwiglu(activation, before, up) : before;
      expect(Math.abs(value - expected)).toBeLessThan(1e-6 * (1 + Math.abs(expected)));
    }
  });
});

describe("xIELU", () => {
  it("agrees with float64, close to zero too", async () => {
    const x = randomNormal(ROWS * STRIDE, seededRandom(5), 4);
    x.set([0, -1e-7, -1e-5, -1e-3, -0.05, -0.3, 1e-4, -60]);
    const parameters = { alphaP: 0.3, alphaN: -0.7, beta: 0.5, eps: -1e-6 };
    using buffer = await test.upload("x", x);
    const upload = async (value: number) => await test.upload("parameter", Float32Array.of(value));
    using alphaP = await upload(parameters.alphaP);
    using alphaN = await upload(parameters.alphaN);
    using beta = await upload(parameters.beta);
    using eps = await upload(parameters.eps);
    const matrix = { buffer, rows: ROWS, columns: COLUMNS, stride: STRIDE };
    await xielu(test.gpu, { alphaP, alphaN, beta, eps }, matrix);
    const result = await test.readFloats(buffer);
    for (const [index, value] of result.entries()) {
      const before = x[index] ?? 0;
      const expected = index % STRIDE < COLUMNS ? referenceXielu(parameters, before) : before;
      expect(Math.abs(value - expected)).toBeLessThan(1e-6 * (1e-3 + Math.abs(before) + Math.abs(expected)));
    }
  });
});
