// Matrix products over the Linears of a layer, in every way that the pipeline lays their operands: (n, k) weights in
// float32 and bfloat16 for the forward pass, (k, m) operands for Hessians, (k, n) ones for the update of GPTQ.

import type { Lifetime } from "../../src/disposal.ts";
import type { FloatDtype } from "../../src/formats/numbers/dtype.ts";
import { matmul, type LinearProduct } from "../../src/gpu/matmul/matmul.ts";
import { matmulHalves } from "../../src/gpu/matmul/matmul-halves.ts";
import { openMatrixUnits } from "../../src/gpu/matmul/open-matrix-units.ts";
import { matmulStrassen } from "../../src/gpu/matmul/strassen/strassen.ts";
import {
  createStrassenScratch,
  leastStrassen,
  strassenSizes,
} from "../../src/gpu/matmul/strassen/strassen-size.ts";
import type { BenchGpu, Benchmark } from "../benchmark.ts";
import { layerLinears, type ModelShape, shapeText, type Sizes } from "../model-shapes.ts";

interface ProductLayout {
  readonly name: string;
  readonly aTransposed: boolean;
  readonly bTransposed: boolean;
  readonly bDtype: FloatDtype & ("F32" | "BF16");
}

const NT: ProductLayout = { name: "f32-nt", aTransposed: false, bTransposed: true, bDtype: "F32" };
const LAYOUTS: readonly ProductLayout[] = [
  NT,
  { name: "bf16-nt", aTransposed: false, bTransposed: true, bDtype: "BF16" },
  { name: "f32-nn", aTransposed: false, bTransposed: false, bDtype: "F32" },
  { name: "f32-tn", aTransposed: true, bTransposed: false, bDtype: "F32" },
];

/** Sequences of a batch: what Strassen's sums cost depends on all three sizes. */
const STRASSEN_SEQUENCES = 4;

interface ProductShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** The product whose rate is the ceiling of this run, unless another one is faster. */
export function ceilingProduct({ ceiling }: Sizes): Benchmark {
  return product("ceiling.product", NT, ceiling);
}

export function productBenchmarks({ models, tokens }: Sizes): Benchmark[] {
  const linears = models.flatMap((model) =>
    linearShapes(model, tokens).map(({ name, shape }) => ({ name: `${model.name}/${name}`, shape })),
  );
  return [
    ...LAYOUTS.flatMap((layout) =>
      linears.map(({ name, shape }) => product(`product.${layout.name}/${name}`, layout, shape)),
    ),
    ...linears.map(({ name, shape }) => halves(`product.halves/${name}`, shape)),
    ...linears.map(({ name, shape }) =>
      strassen(`product.strassen/${name}`, { ...shape, m: shape.m * STRASSEN_SEQUENCES }),
    ),
  ];
}

function linearShapes(model: ModelShape, tokens: number): { name: string; shape: ProductShape }[] {
  return layerLinears(model).map(({ name, rows, columns }) => ({
    name,
    shape: { m: tokens, n: rows, k: columns },
  }));
}

function product(name: string, layout: ProductLayout, { m, n, k }: ProductShape): Benchmark {
  const { aTransposed, bTransposed, bDtype } = layout;
  return {
    name,
    shape: shapeText(m, n, k),
    unit: "flop",
    work: 2 * m * n * k,
    async prepare(bench, lifetime) {
      const { a, b, c } = await allocateOperands(bench, lifetime, { m, n, k }, bDtype);
      const options = {
        m,
        n,
        k,
        aTransposed,
        bTransposed,
        bDtype,
        a: { buffer: a, stride: aTransposed ? m : k },
        b: { buffer: b, stride: bTransposed ? k : n },
        c: { buffer: c, stride: n },
      };
      return { run: async () => await matmul(bench.gpu, options) };
    },
  };
}

/** On matrix units, with what precedes it: the largest magnitudes of both operands. */
function halves(name: string, shape: ProductShape): Benchmark {
  return linear(name, shape, async ({ gpu }, lifetime) => {
    lifetime.use(await openMatrixUnits(gpu, true));
    const { matrices } = gpu.tuning;
    if (!matrices) throw new Error("No matrix units here, or their sums are wrong.");
    return async (options) => await matmulHalves(gpu, matrices, options);
  });
}

/** Seven products instead of eight, with all sums of quadrants, those of the weight included. */
function strassen(name: string, shape: ProductShape): Benchmark {
  return linear(name, shape, async ({ gpu }, lifetime) => {
    const [fastest = leastStrassen(shape)] = strassenSizes(shape);
    const scratch = lifetime.use(await createStrassenScratch(gpu.memory, fastest));
    return async (options) => await matmulStrassen(gpu, scratch, options);
  });
}

type LinearOptions = LinearProduct & { readonly bDtype: "BF16" };

/** A product with a Linear's weight of 16 bits, by what `open` makes ready. */
function linear(
  name: string,
  { m, n, k }: ProductShape,
  open: (bench: BenchGpu, lifetime: Lifetime) => Promise<(options: LinearOptions) => Promise<void>>,
): Benchmark {
  return {
    name,
    shape: shapeText(m, n, k),
    unit: "flop",
    work: 2 * m * n * k,
    async prepare(bench, lifetime) {
      const multiply = await open(bench, lifetime);
      const { a, b, c } = await allocateOperands(bench, lifetime, { m, n, k }, "BF16");
      const sides = {
        a: { buffer: a, stride: k },
        b: { buffer: b, stride: k },
        c: { buffer: c, stride: n },
      };
      return { run: async () => await multiply({ m, n, k, bDtype: "BF16", ...sides }) };
    },
  };
}

async function allocateOperands(
  { gpu, allocateNoise }: BenchGpu,
  lifetime: Lifetime,
  { m, n, k }: ProductShape,
  bDtype: ProductLayout["bDtype"],
) {
  const bBytes = n * k * (bDtype === "F32" ? 4 : 2);
  const a = lifetime.use(await allocateNoise({ label: "a", bytes: m * k * 4 }, "F32"));
  const b = lifetime.use(await allocateNoise({ label: "b", bytes: bBytes }, bDtype));
  const c = lifetime.use(await gpu.memory.allocate({ label: "c", bytes: m * n * 4 }));
  return { a, b, c };
}
