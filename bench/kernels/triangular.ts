// Hessians and their factors: the update of the lower triangle, Cholesky, and all that comes between a Hessian and GPTQ.

import { createLifetime, type Lifetime } from "../../src/disposal.ts";
import { allocatePanels } from "../../src/gpu/panels.ts";
import { allocateCholeskyScratch } from "../../src/gpu/triangular/cholesky-scratch.ts";
import { cholesky } from "../../src/gpu/triangular/cholesky.ts";
import { addToDiagonal } from "../../src/gpu/triangular/diagonal.ts";
import { symmetricRankKUpdate } from "../../src/gpu/triangular/symmetric-rank-k-update.ts";
import { layOutTriangle, type TriangularMatrix } from "../../src/gpu/triangular/triangular-matrix.ts";
import { beginFactoring, readHessianDiagonals } from "../../src/quantize/gptq/factor-hessian.ts";
import type { BenchGpu, Benchmark } from "../benchmark.ts";
import type { Sizes } from "../model-shapes.ts";

/** Rows that a Hessian is made of before it is factored; the diagonal makes it positive definite. */
const HESSIAN_ROWS = 64;

export function triangularBenchmarks({ models, tokens, choleskyOrders }: Sizes): Benchmark[] {
  const updates = models.flatMap(({ name, hidden, intermediate }) => [
    rankKUpdate(`rank-k-update/${name}/hidden`, hidden, tokens),
    rankKUpdate(`rank-k-update/${name}/intermediate`, intermediate, tokens),
  ]);
  return [...updates, ...choleskyOrders.map(choleskyOf), ...choleskyOrders.map(factorOf)];
}

/** A zero triangle of order n. */
export async function makeTriangle(
  bench: BenchGpu,
  n: number,
  lifetime: Lifetime,
): Promise<TriangularMatrix> {
  const { memory, device } = bench.gpu;
  const layout = layOutTriangle(n, device.limits.maxStorageBufferBindingSize);
  return lifetime.use(await allocatePanels(memory, "triangle", layout));
}

/** n · (n + 1) entries of the triangle, each the sum of `rows` products, for two triangles of which one is computed. */
function rankKUpdate(name: string, n: number, rows: number): Benchmark {
  return {
    name,
    shape: `n = ${n}, k = ${rows}`,
    unit: "flop",
    work: n * (n + 1) * rows,
    async prepare(bench, lifetime) {
      const triangle = await makeTriangle(bench, n, lifetime);
      const x = lifetime.use(await bench.allocateNoise({ label: "x", bytes: rows * n * 4 }, "F32"));
      return {
        run: async () =>
          await symmetricRankKUpdate(bench.gpu, triangle, { buffer: x, stride: n, rows }, { alpha: 1 }),
      };
    },
  };
}

/** The usual count, n³ / 3. */
function choleskyOf(n: number): Benchmark {
  return {
    name: `cholesky/${n}`,
    shape: `n = ${n}`,
    unit: "flop",
    work: n ** 3 / 3,
    async prepare(bench, lifetime) {
      const scratch = lifetime.use(await allocateCholeskyScratch(bench.gpu, n));
      const { matrix, reset } = await makeHessian(bench, n, lifetime);
      return {
        reset,
        run: async () => {
          const { failedRow: reading } = await cholesky(bench.gpu, matrix, scratch, bench.readbacks);
          const failedRow = await reading;
          if (failedRow !== null)
            throw new Error(`The Hessian was not positive definite at row ${failedRow}.`);
        },
      };
    },
  };
}

/** Cholesky with what precedes it: diagonal to the host, damping, act-order. */
function factorOf(n: number): Benchmark {
  return {
    name: `factor-hessian/${n}`,
    shape: `n = ${n}`,
    unit: "flop",
    work: n ** 3 / 3,
    async prepare(bench, lifetime) {
      const { gpu, uploads, readbacks } = bench;
      const scratch = {
        cholesky: lifetime.use(await allocateCholeskyScratch(gpu, n)),
        vector: lifetime.use(await gpu.memory.allocate({ label: "diagonal", bytes: n * 4 })),
        uploads,
        readbacks,
      };
      const { matrix, reset } = await makeHessian(bench, n, lifetime);
      const options = {
        byActivation: true,
        dampeningFrac: 0.01,
        name: "the benchmark",
      } as const;
      return {
        reset,
        async run() {
          const [diagonal = new Float32Array()] = await readHessianDiagonals(gpu, [matrix], readbacks);
          await (await beginFactoring(gpu, matrix, { ...options, diagonal }, scratch)).finish();
        },
      };
    },
  };
}

async function makeHessian(bench: BenchGpu, n: number, lifetime: Lifetime) {
  const { gpu, uploads } = bench;
  const matrix = await makeTriangle(bench, n, lifetime);
  const x = lifetime.use(await bench.allocateNoise({ label: "x", bytes: HESSIAN_ROWS * n * 4 }, "F32"));
  const reset = async () => {
    using scratch = createLifetime();
    const diagonal = scratch.use(await gpu.memory.allocate({ label: "added diagonal", bytes: n * 4 }));
    const added = Float32Array.from({ length: n }, (_, row) => 1 + (row % 97) / 97);
    await uploads.write(new Uint8Array(added.buffer), diagonal);
    for (const buffer of matrix.buffers) await gpu.queue.clear(buffer);
    await symmetricRankKUpdate(gpu, matrix, { buffer: x, stride: n, rows: HESSIAN_ROWS }, { alpha: 1 });
    await addToDiagonal(gpu, matrix, diagonal);
    await gpu.queue.idle();
  };
  return { matrix, reset };
}
