import { describe, expect, it } from "vitest";
import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { type QuantizationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import { NO_STATISTICS } from "../observe/observe-weight.ts";
import { correlatedHessian } from "../../testing/layers/hessian.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { hessianWeightedError } from "../gptq/reference.ts";
import { referenceCodes, referenceQparams } from "../rtn/reference.ts";
import {
  referenceDescend,
  referenceFit,
  refinedValues,
  type RefinedCodes,
  type RefineProblem,
} from "./reference.ts";

const [ROWS, N] = [6, 64];
const group = { strategy: "group", group_size: 16 } as const;

/** Weights rounded to nearest, and what refines them. */
function roundedProblem(args: QuantizationArgs): { problem: RefineProblem; refined: RefinedCodes } {
  const values = randomNormal(ROWS * N, seededRandom(4), 0.05);
  const weight = { values, dtype: "F32", rows: ROWS, columns: N } as const;
  const grid = cellGrid(args, ROWS, N);
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = args.strategy === "tensor_group" ? globalScale(largest, "F32") : 0;
  const qparams = referenceQparams(weight, args, grid, { ...NO_STATISTICS, globalScale: scale || null });
  const codes = referenceCodes(weight, args, grid, qparams, scale);
  const scales = qparams.scales.map((local) => (scale === 0 ? local : Math.fround(local / scale)));
  const columns = Uint32Array.from({ length: N }, (_, column) => column);
  const problem: RefineProblem = {
    weights: Float64Array.from(values),
    dtype: "F32",
    rows: ROWS,
    n: N,
    hessian: correlatedHessian(N, 3 * N, 0.01),
    args,
    columns,
    groupOf: columns.map((column) => Math.floor(column / grid.cellColumns)),
    globalScale: scale,
  };
  return { problem, refined: { codes, zeroPoints: qparams.zeroPoints, scales } };
}

function lossOf(problem: RefineProblem, refined: RefinedCodes): number {
  const values = refinedValues(problem, refined);
  const delta = problem.weights.map((weight, index) => weight - (values[index] ?? 0));
  return hessianWeightedError(delta, problem.hessian, problem.rows, problem.n);
}

const CASES: readonly { label: string; args: QuantizationArgs }[] = [
  { label: "W4A16", args: weightArgs({ num_bits: 4, ...group }) },
  { label: "3 bits, asymmetric", args: weightArgs({ num_bits: 3, ...group, symmetric: false }) },
  {
    label: "NVFP4A16",
    args: weightArgs({
      ...group,
      num_bits: 4,
      type: "float",
      strategy: "tensor_group",
      scale_dtype: "torch.float8_e4m3fn",
    }),
  },
  {
    label: "MXFP4A16",
    args: weightArgs({ ...group, num_bits: 4, type: "float", group_size: 32, scale_dtype: "torch.uint8" }),
  },
];

describe.each(CASES)("a refinement of $label", ({ args }) => {
  it("never raises the loss, and lowers it by a tenth", () => {
    const { problem, refined } = roundedProblem(args);
    const before = lossOf(problem, refined);
    let loss = before;
    for (const step of [referenceFit, referenceDescend, referenceFit, referenceDescend]) {
      step(problem, refined);
      const next = lossOf(problem, refined);
      expect(next).toBeLessThanOrEqual(loss);
      loss = next;
    }
    expect(loss).toBeLessThan(0.9 * before);
  });
});

describe("a fitted scale", () => {
  it("is where the loss is least", () => {
    const { problem, refined } = roundedProblem(weightArgs({ num_bits: 4, strategy: "channel" }));
    referenceFit(problem, refined);
    const loss = lossOf(problem, refined);
    for (const factor of [0.999, 1.001]) {
      const scales = refined.scales.map((scale) => scale * factor);
      expect(lossOf(problem, { ...refined, scales })).toBeGreaterThan(loss);
    }
  });
});

describe("a pass over the codes", () => {
  it("ends where no single code could be better, if it is repeated", () => {
    const { problem, refined } = roundedProblem(weightArgs({ num_bits: 4, ...group }));
    for (let pass = 0; pass < 30; pass++) referenceDescend(problem, refined);
    const loss = lossOf(problem, refined);
    refined.codes.forEach((code, index) => {
      for (const step of [-1, 1]) {
        if (Math.abs(code + step + 0.5) > 7.5) continue;
        const codes = refined.codes.with(index, code + step);
        expect(lossOf(problem, { ...refined, codes })).toBeGreaterThanOrEqual(loss * (1 - 1e-12));
      }
    });
  });
});
