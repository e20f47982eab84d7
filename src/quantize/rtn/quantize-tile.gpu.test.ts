import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type CellGrid,
  cellGrid,
  codeStorage,
  compressionFormat,
  packsZeroPoints,
  scaleStorage,
} from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { numberToE4m3 } from "../../formats/numbers/fp8.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { numberToE8m0 } from "../../formats/numbers/mx-scale.ts";
import { packStream } from "../../formats/numbers/packing.ts";
import {
  activationArgs,
  type QuantizationArgs,
  usesImportance,
  weightArgs,
} from "../../formats/schemes/quantization-args.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { runTile, uploadPowers } from "../../testing/test-gpu/tile-buffers.ts";
import { referenceMseRanges } from "../observe/mse-reference.ts";
import { importanceOf } from "../observe/importance.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import { stepsThatCount } from "../observe/scan-weight.ts";
import { readStatistics } from "../observe/tile-statistics.ts";
import { PLAIN_CONTEXT } from "../observe/observe-tile.ts";
import { NO_STATISTICS, type TensorStatistics } from "../observe/observe-weight.ts";
import { qparamsOfRanges, referenceCodes, referenceRanges, type ReferenceWeight } from "./reference.ts";
import type { RtnTask } from "./tile-buffers.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const dynamicToken = activationArgs({ strategy: "token", dynamic: true });
const group = { strategy: "group", group_size: 32 } as const;
const fp8 = { num_bits: 8, type: "float" } as const;
const nvfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  scale_dtype: "torch.float8_e4m3fn",
} as const;
const mx = { type: "float", ...group, scale_dtype: "torch.uint8" } as const;

interface Case {
  readonly label: string;
  readonly weights: QuantizationArgs;
  readonly activations?: QuantizationArgs;
}

const CASES: readonly Case[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((num_bits) => ({
    label: `W${num_bits}A16`,
    weights: weightArgs({ num_bits, ...group }),
  })),
  { label: "W4A16_ASYM", weights: weightArgs({ num_bits: 4, ...group, symmetric: false }) },
  {
    label: "3 bits, asymmetric, groups of 96",
    weights: weightArgs({ num_bits: 3, ...group, group_size: 96, symmetric: false }),
  },
  {
    label: "4 bits, asymmetric channels",
    weights: weightArgs({ num_bits: 4, strategy: "channel", symmetric: false }),
  },
  { label: "W8A8", weights: weightArgs({ strategy: "channel" }), activations: dynamicToken },
  { label: "W4A8", weights: weightArgs({ num_bits: 4, ...group }), activations: dynamicToken },
  {
    label: "asymmetric W8A8 in groups",
    weights: weightArgs({ ...group, symmetric: false }),
    activations: dynamicToken,
  },
  {
    label: "8 bits in blocks of 16 × 48",
    weights: weightArgs({ strategy: "block", block_structure: [16, 48] }),
  },
  { label: "FP8_DYNAMIC", weights: weightArgs({ ...fp8, strategy: "channel" }), activations: dynamicToken },
  {
    label: "FP8_BLOCK",
    weights: weightArgs({ ...fp8, strategy: "block", block_structure: [128, 128] }),
    activations: dynamicToken,
  },
  { label: "FP8 weights of one scale", weights: weightArgs({ ...fp8, strategy: "tensor" }) },
  {
    label: "8 bits, one scale and zero point",
    weights: weightArgs({ strategy: "tensor", symmetric: false }),
  },
  { label: "NVFP4A16", weights: weightArgs(nvfp4) },
  { label: "MXFP4A16", weights: weightArgs({ num_bits: 4, ...mx }) },
  { label: "MXFP8A16", weights: weightArgs({ num_bits: 8, ...mx }) },
  {
    label: "W4A16 by memoryless_mse",
    weights: weightArgs({ num_bits: 4, ...group, observer: "memoryless_mse" }),
  },
  {
    label: "W4A16_ASYM by the cubes of errors",
    weights: weightArgs({
      num_bits: 4,
      ...group,
      symmetric: false,
      observer: "memoryless_mse",
      observer_kwargs: { norm: 3 },
    }),
  },
  {
    label: "NVFP4A16 by nvfp4_expanded_mse",
    weights: weightArgs({ ...nvfp4, observer: "nvfp4_expanded_mse", observer_kwargs: { grid: 30 } }),
  },
  {
    label: "MXFP8A16 by memoryless_mse",
    weights: weightArgs({ num_bits: 8, ...mx, observer: "memoryless_mse" }),
  },
  {
    label: "W4A16_ASYM by imatrix_mse",
    weights: weightArgs({ num_bits: 4, ...group, symmetric: false, observer: "imatrix_mse" }),
  },
  { label: "NVFP4A16 by imatrix_mse", weights: weightArgs({ ...nvfp4, observer: "imatrix_mse" }) },
];

const DTYPES: readonly FloatDtype[] = ["BF16", "F16", "F32"];
/** A block of 16 and a part of one; a word of packed zero points that is begun. */
const ROWS = 22;
const COLUMNS = 192;

/** Columns that see little, and some that see a lot. */
const IMPORTANCE = importanceOf(
  Float32Array.from({ length: COLUMNS }, (_, column) => (column % 7 === 3 ? 40 : (column % 5) * 0.3)),
);

/** Weights of very different rows: plain, tiny, zero, constant, with one large value, with signed zeros, about float16's least. */
function hardWeights(dtype: FloatDtype): Float32Array {
  const values = randomNormal(ROWS * COLUMNS, seededRandom(7), 0.02);
  const row = (index: number) => values.subarray(index * COLUMNS, (index + 1) * COLUMNS);
  row(1).fill(0);
  row(2).fill(0.0117);
  row(3)[0] = 5;
  row(4).forEach((value, index, all) => (all[index] = value * 1e-3));
  row(5).forEach((value, index, all) => (all[index] = value * 1e-7));
  row(6).fill(-0, 0, 50);
  row(7).forEach((_, index, all) => (all[index] = ((index % 5) - 3) * 2 ** -24));
  row(8).forEach(
    (_, index, all) => (all[index] = (index % 2 === 0 ? -1 : 0.5) * (760 + (index >> 3)) * 2 ** -24),
  );
  return widenToFloat32(dtype, narrowFromFloat32(dtype, values));
}

function taskOf({ weights, activations }: Case, dtype: FloatDtype, rows = ROWS, columns = COLUMNS): RtnTask {
  const format = compressionFormat({ weights, input_activations: activations ?? null });
  return { module: "m", dtype, rows, columns, weights, format };
}

function weightOf(task: RtnTask, values: Float32Array): ReferenceWeight {
  return { values, dtype: task.dtype, rows: task.rows, columns: task.columns };
}

/** Ranges as the task's observer finds them. */
function observedRanges(task: RtnTask, values: Float32Array, grid: CellGrid) {
  const settings = mseSettings(task.weights);
  const weight = weightOf(task, values);
  if (!settings) return referenceRanges(weight, grid);
  return referenceMseRanges(weight, task.weights, grid, settings, settings.weighted ? IMPORTANCE : null);
}

function statisticsOf(task: RtnTask, values: Float32Array, grid: CellGrid): TensorStatistics {
  const { low, high } = observedRanges(task, values, grid);
  const extremes = [Math.min(...low), Math.max(...high)] as const;
  if (task.weights.strategy === "tensor") return { range: extremes, globalScale: null };
  if (task.weights.strategy !== "tensor_group") return NO_STATISTICS;
  return { range: null, globalScale: globalScale(Math.max(-extremes[0], extremes[1]), task.dtype) };
}

function packedRows(task: RtnTask, codes: Int32Array): Uint8Array {
  const { storedBits, storedOffset, rowsPadded } = codeStorage(task.weights, task.format);
  if (!rowsPadded) {
    const bytes = new Uint8Array(packStream(codes, storedBits, storedOffset).buffer);
    return bytes.subarray(0, (codes.length * storedBits) / 8);
  }
  const rows = Array.from({ length: task.rows }, (_, row) =>
    packStream(codes.subarray(row * task.columns, (row + 1) * task.columns), storedBits, storedOffset),
  );
  return new Uint8Array(Uint32Array.from(rows.flatMap((row) => [...row])).buffer);
}

function storedScales(task: RtnTask, scales: Float32Array): Uint8Array {
  const storage = scaleStorage(task.weights);
  if (storage === "dtype") return narrowFromFloat32(task.dtype, scales);
  return Uint8Array.from(scales, storage === "e4m3" ? numberToE4m3 : numberToE8m0);
}

/** Packed along the rows: word r of column c holds the zero points of group c. Undefined for symmetric schemes. */
function storedZeroPoints(task: RtnTask, grid: CellGrid, zeroPoints: Int32Array): Uint8Array | undefined {
  if (task.weights.symmetric) return undefined;
  if (!packsZeroPoints(task.weights, task.format)) return new Uint8Array(Int8Array.from(zeroPoints).buffer);
  const bits = task.weights.num_bits;
  const columns = Array.from({ length: grid.cellsPerRow }, (_, column) =>
    packStream(
      zeroPoints.filter((_zp, cell) => cell % grid.cellsPerRow === column),
      bits,
      2 ** (bits - 1),
    ),
  );
  const words = Array.from({ length: columns[0]?.length ?? 0 }, (_, word) =>
    columns.map((column) => column[word] ?? 0),
  );
  return new Uint8Array(Uint32Array.from(words.flat()).buffer);
}

async function run(task: RtnTask, values: Float32Array, statistics: TensorStatistics) {
  using powers = await uploadPowers(test, task);
  const importance = usesImportance(task.weights) ? { importance: IMPORTANCE } : {};
  const context = { statistics, powers, ...importance };
  const result = await runTile(test, task, values, { ...context, steps: null });
  const counted = readStatistics(new Uint8Array(result.statistics.slice().buffer));
  // The search takes all steps, but may have to end before its last improvement.
  const steps = stepsThatCount(task.weights, [counted]);
  return steps === null ? result : await runTile(test, task, values, { ...context, steps });
}

/** Rows around the least normal number and scales around it, plain rows of that magnitude between them. */
function subnormalWeights(dtype: FloatDtype, plain: number): Float32Array {
  const values = randomNormal(ROWS * COLUMNS, seededRandom(9));
  const scaled = values.map((value, index) => {
    const row = Math.floor(index / COLUMNS);
    return row % 4 === 3 ? value * plain : value * 2 ** -(115 + 2 * row);
  });
  return widenToFloat32(dtype, narrowFromFloat32(dtype, scaled));
}

/** What the kernels make of a weight, and what the reference does. */
async function bitsOf(chosen: Case, dtype: FloatDtype, values: Float32Array) {
  const task = taskOf(chosen, dtype);
  const grid = cellGrid(task.weights, task.rows, task.columns);
  const known = statisticsOf(task, values, grid);
  const qparams = qparamsOfRanges(observedRanges(task, values, grid), task.weights, dtype, known);
  const codes = referenceCodes(weightOf(task, values), task.weights, grid, qparams, known.globalScale ?? 0);
  const { parts, statistics } = await run(task, values, known);
  return {
    made: {
      scales: parts.get("m.weight_scale"),
      codes: parts.get("m.weight_packed") ?? parts.get("m.weight"),
      zeroPoints: parts.get("m.weight_zero_point"),
      nonfinite: statistics[0],
    },
    expected: {
      scales: storedScales(task, qparams.scales),
      codes: packedRows(task, codes),
      zeroPoints: storedZeroPoints(task, grid, qparams.zeroPoints),
      nonfinite: 0,
    },
  };
}

describe.each(CASES)("$label round to nearest", (chosen) => {
  it.each(DTYPES)("gives the reference's bits for %s weights", async (dtype) => {
    const { made, expected } = await bitsOf(chosen, dtype, hardWeights(dtype));
    expect(made).toEqual(expected);
  });

  it.each(["BF16", "F32"] as const)(
    "counts subnormals of %s weights, whatever a GPU does to them",
    async (dtype) => {
      for (const plain of [0, 0.02]) {
        const { made, expected } = await bitsOf(chosen, dtype, subnormalWeights(dtype, plain));
        expect(made).toEqual(expected);
      }
    },
  );
});

describe("round to nearest", () => {
  it("counts NaN and Inf and finds the first", async () => {
    const task = taskOf({ label: "", weights: weightArgs({ num_bits: 4, ...group }) }, "BF16", 4, 64);
    const values = randomNormal(256, seededRandom(1));
    values[130] = Number.NaN;
    values[200] = Number.POSITIVE_INFINITY;
    const { statistics } = await runTile(test, task, values, PLAIN_CONTEXT);
    expect(statistics[0]).toBe(2);
    expect(0xffffffff - (statistics[1] ?? 0)).toBe(130);
  });

  it("keeps every dequantized weight within half a step", async () => {
    const weights = weightArgs({ num_bits: 8, ...group });
    const task = taskOf({ label: "", weights }, "F32", 16, 64);
    const values = randomNormal(16 * 64, seededRandom(2));
    const { parts } = await runTile(test, task, values, PLAIN_CONTEXT);
    const scales = new Float32Array(parts.get("m.weight_scale")?.slice().buffer ?? []);
    const codes = parts.get("m.weight_packed") ?? new Uint8Array();
    const errors = values.map((value, index) => {
      const scale = scales[Math.floor(index / 32)] ?? 0;
      return Math.abs(value - ((codes[index] ?? 0) - 128) * scale) / scale;
    });
    expect(Math.max(...errors)).toBeLessThanOrEqual(0.5 + 1e-5);
  });
});
