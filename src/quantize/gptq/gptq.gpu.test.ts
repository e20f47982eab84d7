import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { invariant } from "../../errors.ts";
import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { narrowFromFloat32, roundHalfToEven, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { packStream } from "../../formats/numbers/packing.ts";
import { weightArgs } from "../../formats/schemes/quantization-args.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { correlatedHessian, damped } from "../../testing/layers/hessian.ts";
import { type GptqBench, openGptqBench, runGptq } from "../../testing/layers/run-gptq.ts";
import { importanceOf } from "../observe/importance.ts";
import { referenceMseRanges } from "../observe/mse-reference.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import { qparamsOfRanges, referenceQparams } from "../rtn/reference.ts";
import type { RtnTask } from "../rtn/tile-buffers.ts";
import { moduleContexts } from "./observe-module.ts";
import { hessianWeightedError } from "./reference.ts";

let bench: GptqBench;
beforeAll(async () => {
  bench = await openGptqBench();
});
afterAll(() => bench[Symbol.dispose]());

const group32 = { strategy: "group", group_size: 32 } as const;
const nvfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  scale_dtype: "torch.float8_e4m3fn",
  actorder: "static",
} as const;

describe("GPTQ", () => {
  const weights = weightArgs({ num_bits: 4, ...group32, actorder: "static" });
  const task: RtnTask = {
    module: "m",
    dtype: "BF16",
    rows: 16,
    columns: 96,
    weights,
    format: "pack-quantized",
  };
  const values = widenToFloat32("BF16", narrowFromFloat32("BF16", randomNormal(16 * 96, seededRandom(3))));

  it("takes its scales from the original weights and packs the codes that it chose", async () => {
    const result = await runGptq(bench, task, values, correlatedHessian(96, 200, 0));
    const grid = cellGrid(weights, 16, 96);
    const { scales } = referenceQparams({ values, dtype: "BF16", rows: 16, columns: 96 }, weights, grid);
    expect(result.tensors.get("m.weight_scale")).toEqual(narrowFromFloat32("BF16", scales));
    const rows = Array.from({ length: 16 }, (_, row) => [
      ...packStream(Int32Array.from(result.numbers.subarray(row * 96, (row + 1) * 96)), 4, 8),
    ]);
    const packed = result.tensors.get("m.weight_packed");
    expect(new Uint32Array(packed?.slice().buffer ?? [])).toEqual(Uint32Array.from(rows.flat()));
  });

  it("reads no tile any more when it is told that a later one has failed", async () => {
    const tall = { ...task, rows: 64 };
    const written: string[] = [];
    const failing = runGptq(
      bench,
      tall,
      randomNormal(64 * 96, seededRandom(5)),
      correlatedHessian(96, 200, 0),
      {
        tileRows: 32,
        resultSets: 2,
        between: (services) => ({
          ...services,
          write: (tensor) => void written.push(tensor),
          weights: {
            ...services.weights,
            async load(firstRow, rows, to) {
              if (firstRow > 0) throw new Error("The second tile fails.");
              await services.weights.load(firstRow, rows, to);
            },
            store: async () => await Promise.resolve(),
          },
        }),
      },
    );
    await expect(failing).rejects.toThrow("The second tile fails.");
    expect(written.toSorted()).toEqual(["m.weight_packed", "m.weight_scale"]);
  });

  it("takes the ranges that imatrix_mse chooses by the Hessian's diagonal", async () => {
    const observed = { ...task, weights: { ...weights, observer: "imatrix_mse" } } as const;
    const h = correlatedHessian(96, 200, 0, [5]);
    const result = await runGptq(bench, observed, values, h);
    const importance = importanceOf(Float32Array.from({ length: 96 }, (_, column) => h[column * 97] ?? 0));
    const settings = mseSettings(observed.weights);
    invariant(settings, "imatrix_mse searches");
    const weight = { values, dtype: "BF16", rows: 16, columns: 96 } as const;
    const grid = cellGrid(weights, 16, 96);
    const ranges = referenceMseRanges(weight, observed.weights, grid, settings, importance);
    const { scales } = qparamsOfRanges(ranges, observed.weights, "BF16");
    expect(result.tensors.get("m.weight_scale")).toEqual(narrowFromFloat32("BF16", scales));
    expect(scales).not.toEqual(referenceQparams(weight, weights, grid).scales);
  });

  it("shares NVFP4's global scale over a fused set, whose widest weight fits", async () => {
    const args = weightArgs(nvfp4);
    const plain = { ...task, weights: args, format: "nvfp4-pack-quantized" } as const;
    const alone = await runGptq(bench, plain, values, correlatedHessian(96, 200, 0));
    const narrow = { range: [-0.5, 0.5], steps: null } as const;
    const wide = { range: [-8, 1], steps: null } as const;
    const set = moduleContexts([
      { task: plain, observed: narrow },
      { task: { ...plain, module: "n" }, observed: wide },
    ]);
    expect(set.get("m")?.statistics.globalScale).toBe(globalScale(8, "BF16"));
    expect(set.get("n")).toEqual(set.get("m"));
    const stored = alone.tensors.get("m.weight_global_scale");
    expect(new Float32Array(stored?.slice().buffer ?? [])[0]).toBe(alone.context.statistics.globalScale);
  });

  it("puts the error of rounding to nearest at the Hessian-weighted error of its codes", async () => {
    const h = correlatedHessian(96, 200, 0);
    const result = await runGptq(bench, task, values, h);
    const rounded = Float64Array.from(values, (value, index) => {
      const scale = result.scales[index] ?? 1;
      const code = roundHalfToEven(Math.min(Math.max(value / scale, -8), 7));
      return (
        value - (widenToFloat32("BF16", narrowFromFloat32("BF16", Float32Array.of(code * scale)))[0] ?? 0)
      );
    });
    const expected = hessianWeightedError(rounded, damped(h, 96, 0.01), 16, 96);
    expect(result.outcome.rtnLoss / expected).toBeCloseTo(1, 3);
  });

  it("gives dead columns the code of zero and leaves them out of the error", async () => {
    const result = await runGptq(bench, task, values, correlatedHessian(96, 200, 0, [5, 40]));
    for (let row = 0; row < 16; row++) {
      expect(result.numbers[row * 96 + 5]).toBe(0);
      expect(result.numbers[row * 96 + 40]).toBe(0);
    }
    expect([...result.factored.dead].filter(Boolean)).toHaveLength(2);
  });

  it("retries a singular Hessian with more damping and says so", async () => {
    const h = correlatedHessian(96, 4, 0);
    const result = await runGptq(bench, task, values, h, { frac: 1e-9 });
    expect(result.factored.attempts).toBeGreaterThan(1);
    expect(result.factored.dampeningFrac).toBeGreaterThan(1e-9);
    expect(result.outcome.loss).toBeLessThan(result.outcome.rtnLoss);
    // As if what was enough had been asked for at once.
    const { dampeningFrac } = result.factored;
    const straight = await runGptq(bench, task, values, h, { frac: dampeningFrac });
    expect(straight.factored.attempts).toBe(1);
    expect(result.outcome.loss / straight.outcome.loss).toBeCloseTo(1, 3);
    const differing = result.numbers.filter((code, place) => code !== straight.numbers[place]);
    expect(differing.length).toBeLessThan(0.01 * result.numbers.length);
  });

  it("refuses a Hessian with NaN and names it", async () => {
    const h = correlatedHessian(96, 100, 0);
    h[0] = Number.NaN;
    await expect(runGptq(bench, task, values, h)).rejects.toThrow(/Hessian of test has NaN/);
  });
});
