import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import type { Linear } from "../../model/weight-description.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { applyBoth } from "./forward-pass.ts";
import type { GpuLinear, LayerWeights } from "./layer-weights.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
  test.gpu.tuning.largeProducts = true;
});
afterAll(() => test[Symbol.dispose]());

const [TOKENS, COLUMNS, ROWS, STRIDE] = [130, 40, 132, 272];
const LINEARS = ["keys", "values"].map(
  (module) =>
    ({ module, rows: ROWS, columns: COLUMNS, bias: `${module}.bias`, biasPlace: undefined }) as Linear,
);

/** The outputs of two Linears, whose weights lie on the GPU whole or come in tiles, and the kernels that made them. */
async function outputs(areWhole: boolean): Promise<[Float32Array, Set<string>]> {
  const { gpu } = test;
  const random = seededRandom(3);
  using x = await test.upload("x", randomNormal(TOKENS * COLUMNS, random));
  using y = await test.upload("y", new Float32Array(TOKENS * STRIDE));
  using bias = await test.upload("bias", randomNormal(ROWS, random));
  using keys = await test.upload("keys", narrowFromFloat32("BF16", randomNormal(ROWS * COLUMNS, random)));
  using values = await test.upload("values", narrowFromFloat32("BF16", randomNormal(ROWS * COLUMNS, random)));
  const tileOf = (module: string): GpuLinear => ({
    weight: module === "keys" ? keys : values,
    dtype: "BF16",
    stride: COLUMNS,
    firstRow: 0,
    rows: ROWS,
  });
  const weights: LayerWeights = {
    async *rowTiles(module) {
      yield await Promise.resolve(tileOf(module));
    },
    whole: (module) => (areWhole ? tileOf(module) : null),
    vector: async () => await Promise.resolve(bias),
  };
  using run = vi.spyOn(gpu.queue, "run");
  const [first, second] = LINEARS.map(
    (linear, index) => [linear, { buffer: y, stride: STRIDE, offset: index * ROWS }] as const,
  );
  if (!first || !second) throw new Error("There are two Linears.");
  const input = { buffer: x, rows: TOKENS, columns: COLUMNS, stride: COLUMNS };
  await applyBoth({ gpu, weights }, [first, second], input);
  return [await test.readFloats(y), new Set(run.mock.calls.map(([{ name }]) => name))];
}

describe("applyBoth", () => {
  it("gives the bits of one Linear after the other, in one product where weights lie on the GPU whole", async () => {
    const [both, kernels] = await outputs(true);
    const [each, others] = await outputs(false);
    expect(kernels).toEqual(new Set(["gpu.matmul-large-pair", "forward.add-bias"]));
    expect(others).toEqual(new Set(["gpu.matmul-large", "forward.add-bias"]));
    expect(both).toEqual(each);
    expect(both.every(Number.isFinite) && both[0] !== 0).toBe(true);
  });
});
