import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import {
  DTYPE_BITS,
  type FloatDtype,
  narrowFromFloat32,
  roundTo,
  widenToFloat32,
} from "../../formats/numbers/dtype.ts";
import {
  activationArgs,
  type QuantizationArgs,
  weightArgs,
} from "../../formats/schemes/quantization-args.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { correlatedHessian, damped } from "../../testing/layers/hessian.ts";
import { type GptqBench, type GptqResult, openGptqBench, runGptq } from "../../testing/layers/run-gptq.ts";
import { codeValue } from "../rtn/reference.ts";
import type { RtnTask } from "../rtn/tile-buffers.ts";
import { openDequantizer } from "./dequantize-stored.ts";
import { hessianWeightedError, referenceGptq } from "./reference.ts";

let bench: GptqBench;
beforeAll(async () => {
  bench = await openGptqBench();
});
afterAll(() => bench[Symbol.dispose]());

const int8Token = activationArgs({ strategy: "token", dynamic: true });

interface Case {
  readonly label: string;
  readonly weights: QuantizationArgs;
  readonly dtype?: FloatDtype;
  readonly activations?: QuantizationArgs;
  readonly n: number;
  readonly rows?: number;
  readonly tileRows?: number;
}

const group32 = { strategy: "group", group_size: 32 } as const;
const fp8 = { num_bits: 8, type: "float", actorder: "static" } as const;
const nvfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  scale_dtype: "torch.float8_e4m3fn",
  actorder: "static",
} as const;
const mx = { type: "float", ...group32, scale_dtype: "torch.uint8", actorder: "static" } as const;
const CASES: readonly Case[] = [
  // More columns than a span has, in two panels.
  { label: "W4A16 static", n: 640, weights: weightArgs({ num_bits: 4, ...group32, actorder: "static" }) },
  { label: "W4A16 group", n: 192, weights: weightArgs({ num_bits: 4, ...group32, actorder: "group" }) },
  { label: "W4A16 in order", n: 160, weights: weightArgs({ num_bits: 4, ...group32 }) },
  {
    label: "W4A16_ASYM",
    n: 96,
    weights: weightArgs({ num_bits: 4, ...group32, symmetric: false, actorder: "static" }),
  },
  {
    label: "W3A16 float16",
    n: 288,
    dtype: "F16",
    weights: weightArgs({ num_bits: 3, ...group32, actorder: "static" }),
  },
  {
    label: "W8A16 float32",
    n: 96,
    dtype: "F32",
    weights: weightArgs({ num_bits: 8, ...group32, actorder: "static" }),
  },
  {
    label: "W8A8",
    n: 150,
    activations: int8Token,
    weights: weightArgs({ num_bits: 8, strategy: "channel", actorder: "static" }),
  },
  {
    label: "one scale and zero point, two tiles",
    n: 96,
    rows: 40,
    tileRows: 32,
    weights: weightArgs({ num_bits: 5, strategy: "tensor", symmetric: false, actorder: "static" }),
  },
  {
    label: "FP8, two tiles",
    n: 96,
    rows: 40,
    tileRows: 32,
    weights: weightArgs({ ...fp8, strategy: "tensor", observer: "memoryless_mse" }),
  },
  { label: "FP8_DYNAMIC", n: 96, weights: weightArgs({ ...fp8, strategy: "channel" }) },
  {
    label: "FP8_BLOCK, two tiles",
    n: 160,
    rows: 150,
    tileRows: 128,
    weights: weightArgs({ ...fp8, strategy: "block", block_structure: [128, 128] }),
  },
  { label: "NVFP4A16", n: 160, rows: 40, tileRows: 32, weights: weightArgs(nvfp4) },
  {
    label: "NVFP4A16 by imatrix_mse",
    n: 96,
    weights: weightArgs({ ...nvfp4, observer: "imatrix_mse" }),
  },
  { label: "MXFP4A16", n: 96, weights: weightArgs({ num_bits: 4, ...mx }) },
  { label: "MXFP8A16", n: 96, weights: weightArgs({ num_bits: 8, ...mx }) },
  {
    label: "W4A16 by memoryless_mse",
    n: 96,
    weights: weightArgs({ num_bits: 4, ...group32, actorder: "static", observer: "memoryless_mse" }),
  },
  {
    label: "W4A16 group by imatrix_mse",
    n: 96,
    weights: weightArgs({ num_bits: 4, ...group32, actorder: "group", observer: "imatrix_mse" }),
  },
];

describe.each(CASES)("GPTQ $label", (chosen) => {
  it("costs what the float64 reference costs, and less than rounding to nearest", async () => {
    const { n, rows = 21, dtype = "BF16", weights: args } = chosen;
    const format = compressionFormat({ weights: args, input_activations: chosen.activations ?? null });
    const task: RtnTask = { module: "m", dtype, rows, columns: n, weights: args, format };
    const weights = widenToFloat32(
      dtype,
      narrowFromFloat32(dtype, randomNormal(rows * n, seededRandom(n), 0.05)),
    );
    const h = correlatedHessian(n, n + 96, 0);
    const result = await runGptq(bench, task, weights, h, { tileRows: chosen.tileRows ?? rows });
    const reference = referenceGptq({
      weights: Float64Array.from(weights),
      dtype,
      rows,
      n,
      hessian: damped(h, n, 0.01),
      order: result.factored.order.toReversed(),
      args,
      qparams: (row, column) => {
        const at = row * n + column;
        return { scale: result.scales[at] ?? 1, zeroPoint: result.zeroPoints[at] ?? 0 };
      },
    });
    const delta = Float64Array.from(weights, (weight, index) => weight - (result.dequantized[index] ?? 0));
    const error = hessianWeightedError(delta, damped(h, n, 0.01), rows, n);
    const expected = Float32Array.from(reference.codes, (code) => codeValue(code, 0, args));
    const agreement = result.numbers.filter((number, i) => number === expected[i]).length / (rows * n);
    // Float32 sums in another order move a target across a rounding boundary now and then, 8-bit ones more often.
    expect(agreement).toBeGreaterThan(args.num_bits === 8 ? 0.93 : 0.97);
    expect(error / reference.loss).toBeLessThan(1.01);
    expect(result.outcome.loss / error).toBeCloseTo(1, 3);
    expect(result.outcome.loss).toBeLessThan(result.outcome.rtnLoss);
    expect(result.dequantized).toEqual(meaningOf(result, dtype));
    expect(await storedMeaning(task, result)).toEqual(result.dequantized);
  });
});

/** What another job makes of the tensors, a few rows at a time. */
async function storedMeaning(task: RtnTask, { tensors }: GptqResult): Promise<Float32Array> {
  const { columns, dtype } = task;
  const { test, uploads, readbacks } = bench;
  const tensor = (name: string) => tensors.get(`m.${name}`) ?? null;
  const values = new Float32Array(task.rows * columns);
  using dequantizer = await openDequantizer({ gpu: test.gpu, uploads }, [task], columns);
  await dequantizer.dequantize({ task, tensor }, async (firstRow, rows, from) => {
    const bytes = await readbacks.readBytes(from, 0, (rows * columns * DTYPE_BITS[dtype]) / 8);
    values.set(widenToFloat32(dtype, bytes), firstRow * columns);
  });
  return values;
}

/** What a loader makes of the codes: products in float32, rounded to the dtype. */
function meaningOf({ numbers, zeroPoints, scales }: GptqResult, dtype: FloatDtype): Float32Array {
  return numbers.map((number, at) =>
    roundTo(dtype, Math.fround((number - (zeroPoints[at] ?? 0)) * (scales[at] ?? 0))),
  );
}
