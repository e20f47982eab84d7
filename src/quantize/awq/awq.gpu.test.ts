import { afterAll, beforeAll, expect, it } from "vitest";
import { invariant } from "../../errors.ts";
import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, roundTo } from "../../formats/numbers/dtype.ts";
import { AWQ_SETTINGS } from "../../formats/modifiers/awq.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { type QuantizationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { uploadTriangle } from "../../testing/test-gpu/triangle.ts";
import { NO_STATISTICS } from "../observe/observe-weight.ts";
import type { QuantizerTask } from "../quantizer.ts";
import type { ReferenceWeight } from "../rtn/reference.ts";
import type { RewriterRun } from "../rewriter.ts";
import { candidateErrors, candidateErrorsConstants } from "./awq-kernels.ts";
import { awqRewriter } from "./awq-rewriter.ts";
import { candidates, candidateScales } from "./candidates.ts";
import { referenceColumnShares, referenceErrors, referenceLoss, scaledWeight } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const N = 96;
const SETTINGS = { ...AWQ_SETTINGS, n_grid: 6 };
const group32 = { strategy: "group", group_size: 32 } as const;
const nvfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  scale_dtype: "torch.float8_e4m3fn",
} as const;

interface Case {
  readonly label: string;
  readonly weights: QuantizationArgs;
  readonly dtype: FloatDtype;
  readonly duo?: false;
}

/** GPU bytes for a search: so few that rows, and then candidates, come in turns. */
const FEW_BYTES = 100_000;

const CASES: readonly Case[] = [
  { label: "W4A16_ASYM", dtype: "BF16", weights: weightArgs({ num_bits: 4, ...group32, symmetric: false }) },
  { label: "W4A16", dtype: "F16", weights: weightArgs({ num_bits: 4, ...group32 }) },
  { label: "W3A16, a channel", dtype: "F32", weights: weightArgs({ num_bits: 3, strategy: "channel" }) },
  { label: "NVFP4A16", dtype: "BF16", weights: weightArgs(nvfp4) },
  {
    label: "one scale, by activations",
    dtype: "BF16",
    weights: weightArgs({ num_bits: 5, strategy: "tensor" }),
    duo: false,
  },
];

/** Inputs whose neighbours hang together, a few of them large. */
function inputs(tokens: number): Float32Array {
  const base = randomNormal(tokens * N, seededRandom(5));
  return base.map((value, at) => (value + 0.7 * (base[at - 1] ?? 0)) * ((at % N) % 13 === 4 ? 20 : 1));
}

function hessianOf(x: Float32Array): Float64Array {
  const h = new Float64Array(N * N);
  for (let start = 0; start < x.length; start += N) {
    for (let i = 0; i < N; i++) {
      for (let j = 0; j < N; j++)
        h[i * N + j] = (h[i * N + j] ?? 0) + 2 * (x[start + i] ?? 0) * (x[start + j] ?? 0);
    }
  }
  return h;
}

it.each(CASES)("finds the scales of $label that lose least, as the plain search does", async (which) => {
  const { weights: args, dtype } = which;
  const settings = which.duo === false ? { ...SETTINGS, duo_scaling: false } : SETTINGS;
  const layers = [40, 72].map((rows, seed): ReferenceWeight => {
    const values = randomNormal(rows * N, seededRandom(seed)).map((value) => roundTo(dtype, 0.05 * value));
    return { values, dtype, rows, columns: N };
  });
  const x = inputs(50);
  const h = hessianOf(x);
  const found = await search({ which, layers, settings, x, h, freeBytes: 2 ** 24 });
  expect(await search({ which, layers, settings, x, h, freeBytes: FEW_BYTES })).toEqual(found);

  const mean = new Float32Array(N);
  x.forEach((value, at) => (mean[at % N] = (mean[at % N] ?? 0) + Math.abs(value)));
  const means = {
    x: mean.map((sum) => sum / 50),
    w:
      which.duo === false
        ? new Float64Array(N)
        : referenceColumnShares(layers.map((weight) => ({ weight, args }))),
  };
  const losses = candidates(settings).map((candidate) => {
    const scales = candidateScales(means, candidate);
    const amax = layers.map((weight) =>
      scaledWeight(weight, scales).values.reduce((a, b) => Math.max(a, Math.abs(b)), 0),
    );
    const all = layers.map((weight) => scaledWeight(weight, scales).values);
    const loss = layers.map((weight, index) => {
      const own = all[index] ?? new Float32Array();
      const known =
        args.strategy === "tensor_group"
          ? { range: null, globalScale: globalScale(Math.max(...amax), dtype) }
          : args.strategy === "tensor"
            ? { range: [Math.min(0, ...own), Math.max(0, ...own)] as const, globalScale: null }
            : NO_STATISTICS;
      const output = referenceLoss(Float64Array.from(weight.values), h, N);
      return referenceLoss(referenceErrors(weight, args, scales, known), h, N) / output;
    });
    return { candidate, scales, loss: loss.reduce((sum, each) => sum + each, 0) / layers.length };
  });
  const best = losses.reduce((least, each) => (each.loss < least.loss ? each : least));
  expect(best.candidate.ratio).toBeGreaterThan(0);
  expect(found.report.search?.ratio).toBe(best.candidate.ratio);
  // float32 against float64; a quotient that lies on the edge of two codes may fall to either side.
  expect((found.report.search?.loss ?? 0) / best.loss).toBeCloseTo(1, 3);
  expect((found.report.search?.unscaledLoss ?? 0) / (losses[0]?.loss ?? 0)).toBeCloseTo(1, 3);
  const [folded] = found.folds;
  folded?.factors.forEach((factor, at) => expect(factor / (best.scales[at] ?? 0)).toBeCloseTo(1, 5));
});

it.each([
  ["groups", weightArgs({ num_bits: 4, ...group32, symmetric: false })],
  ["NVFP4's", weightArgs(nvfp4)],
  ["rows", weightArgs({ num_bits: 3, strategy: "channel" })],
] as const)(
  "rounds %s to the same bits by as many invocations as share a cell on hardware",
  async (_, args) => {
    const [rows, tried] = [40, 3];
    const values = randomNormal(rows * N, seededRandom(3)).map((value) => 0.05 * value);
    const factors = randomNormal(tried * N, seededRandom(4)).map((value) => Math.exp(value));
    const known = new Float32Array(tried * 4).map((_each, at) => (at % 4 === 0 ? 900 : 0));
    const buffers = {
      weights: await test.upload("weights", narrowFromFloat32("BF16", values)),
      factors: await test.upload("factors", factors),
      known: await test.upload("known", known),
      errors: await test.empty("errors", tried * rows * N * 4),
    };
    const given: Gpu["adapter"][] = [true, false].map((software) => ({ ...test.gpu.adapter, software }));
    const found: Float32Array[] = [];
    for (const adapter of given) {
      const { weights, ...rest } = buffers;
      const grid = cellGrid(args, rows, N);
      const weight = { weights, dtype: "BF16", rows, columns: N, args, grid } as const;
      await test.gpu.queue.clear(buffers.errors);
      await candidateErrors({ ...test.gpu, adapter }, weight, { first: 0, count: tried }, rest, N);
      found.push(await test.readFloats(buffers.errors));
    }
    for (const buffer of Object.values(buffers)) buffer[Symbol.dispose]();
    const constants = given.map((adapter) => candidateErrorsConstants({ adapter }, args).WORKGROUP);
    expect(new Set(constants).size).toBe(2);
    expect(found[0]?.every((error) => error === 0)).toBe(false);
    expect(found[1]).toEqual(found[0]);
  },
);

interface Searched {
  readonly which: Case;
  readonly layers: readonly ReferenceWeight[];
  readonly settings: typeof SETTINGS | { readonly duo_scaling: false; readonly n_grid: number };
  readonly x: Float32Array;
  readonly h: Float64Array;
  readonly freeBytes: number;
}

/** The rewriter on the GPU, on a mapping of a norm to two Linears. */
async function search({ which, layers, settings, x, h, freeBytes }: Searched) {
  const { gpu } = test;
  const piece = { pieceBytes: 2 ** 16, pieces: 2 };
  using uploads = await UploadRing.create(gpu, piece);
  using readbacks = await ReadbackRing.create(gpu, piece);
  using hessian = await uploadTriangle(test, h, N);
  const balance = layers.map(({ rows }, index) => ({
    module: `linear${index}`,
    rows,
    columns: N,
    bias: null,
    source: { tensor: `linear${index}.weight`, shape: [rows, N], firstRow: 0 },
  }));
  const tasks = balance.map(({ module, rows }): QuantizerTask => ({
    module,
    dtype: which.dtype,
    rows,
    columns: N,
    weights: which.weights,
    format: "pack-quantized",
    modifier: { name: "QuantizationModifier", groups: [], ignore: [], kv_cache_scheme: null },
    fusedWith: "linear0",
  }));
  const mapping = {
    place: "mlp-input",
    block: null,
    smooth: "norm",
    tensors: [{ tensor: "norm.weight", rows: N, offset: 0 }],
    balance,
    carried: [],
    columns: N,
  } as const;
  const capture = { modules: balance.map(({ module }) => module), columns: N };
  const magnitude = new Float32Array(N);
  x.forEach((value, at) => (magnitude[at % N] = (magnitude[at % N] ?? 0) + Math.abs(value)));
  const run: RewriterRun = {
    modifier: { name: "AWQModifier", mappings: null, ignore: [], settings },
    mappings: [mapping],
    captures: [capture],
    tasks,
    gpu,
    uploads,
    readbacks,
    freeBytes,
    eachPass: async (work) =>
      await work({ captures: [capture], hessian: () => hessian, tokens: () => 50, glanced: null }),
    runBlocks: async () => await Promise.resolve(new Map()),
    channels: async () => await Promise.resolve({ low: magnitude, high: magnitude, magnitude, tokens: 50 }),
    weight(linear, firstRow = 0, rows = linear.rows) {
      const layer = layers[balance.findIndex(({ module }) => module === linear.module)];
      invariant(layer, "the Linear is one of the mapping's");
      const values = layer.values.slice(firstRow * N, (firstRow + rows) * N);
      return { dtype: which.dtype, bytes: narrowFromFloat32(which.dtype, values) };
    },
    async load(linear, firstRow, rows, to) {
      await uploads.write(run.weight(linear, firstRow, rows).bytes, to);
    },
    dtypeOf: () => which.dtype,
    checkpoint: async () => await Promise.resolve(),
    begins: () => undefined,
  };
  const planned = awqRewriter.bytes(run, [capture], { freeBytes, maxBufferBytes: 2 ** 27 });
  expect(planned).toBeLessThanOrEqual(freeBytes);
  gpu.memory.resetPeak();
  const before = gpu.memory.peakBytes;
  const [found] = await awqRewriter.rewrite(run);
  expect(gpu.memory.peakBytes - before).toBeLessThanOrEqual(planned ?? 0);
  invariant(found, "the mapping is searched");
  return found;
}
