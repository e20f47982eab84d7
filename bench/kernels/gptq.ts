// GPTQ of one Linear from weights on the GPU to codes on the host, with the factor of its input's Hessian at hand.

import type { Lifetime } from "../../src/disposal.ts";
import { weightArgs } from "../../src/formats/schemes/quantization-args.ts";
import type { LedgerBuffer } from "../../src/gpu/memory.ts";
import { addToDiagonal } from "../../src/gpu/triangular/diagonal.ts";
import type { FactoredHessian } from "../../src/quantize/gptq/factor-hessian.ts";
import {
  allocateGptqWorkspace,
  gptqTileRows,
  quantizeModule,
} from "../../src/quantize/gptq/quantize-module.ts";
import { PLAIN_CONTEXT } from "../../src/quantize/observe/observe-tile.ts";
import type { RtnTask } from "../../src/quantize/rtn/tile-buffers.ts";
import { seededRandom } from "../../src/testing/random.ts";
import type { BenchGpu, Benchmark } from "../benchmark.ts";
import { layerLinears, shapeText, type Sizes } from "../model-shapes.ts";
import { makeTriangle } from "./triangular.ts";

/** As pipeline/calibration/costs/calibration-memory.ts has it. */
const TILE_BYTES = 1024 ** 3;

export function gptqBenchmarks({ models }: Sizes): Benchmark[] {
  return models.flatMap((model) =>
    layerLinears(model).map(({ name, rows, columns }) =>
      gptqModule(`gptq/${model.name}/${name}`, rows, columns),
    ),
  );
}

/** rows · columns² operations: the error of each column goes to every column that is still to come. */
function gptqModule(name: string, rows: number, columns: number): Benchmark {
  const weights = weightArgs({ num_bits: 4, strategy: "group", group_size: 128, actorder: "static" });
  const task: RtnTask = { module: "m", dtype: "BF16", rows, columns, weights, format: "pack-quantized" };
  return {
    name,
    shape: shapeText(rows, columns),
    unit: "flop",
    work: rows * columns ** 2,
    async prepare(bench, lifetime) {
      const { gpu, uploads, readbacks, allocateNoise } = bench;
      const factored = await makeFactor(bench, columns, lifetime);
      const rowBytes = columns * 2;
      const weight = lifetime.use(await allocateNoise({ label: "weights", bytes: rows * rowBytes }, "BF16"));
      const { maxStorageBufferBindingSize } = gpu.device.limits;
      const tileRows = gptqTileRows(task, TILE_BYTES, maxStorageBufferBindingSize);
      const tiled = { task, tileRows, context: PLAIN_CONTEXT };
      const workspace = lifetime.use(await allocateGptqWorkspace(gpu, [tiled], 2));
      const services = {
        gpu,
        uploads,
        readbacks,
        weights: {
          async load(firstRow: number, count: number, to: LedgerBuffer) {
            await gpu.queue.copy(
              { of: weight, offset: firstRow * rowBytes },
              { of: to, offset: 0 },
              count * rowBytes,
            );
          },
          async store(firstRow: number, count: number, from: LedgerBuffer) {
            await gpu.queue.copy(
              { of: from, offset: 0 },
              { of: weight, offset: firstRow * rowBytes },
              count * rowBytes,
            );
          },
        },
        write: () => undefined,
        checkpoint: async () => await Promise.resolve(),
      };
      return {
        async run() {
          const { outcome } = await quantizeModule(tiled, factored, workspace, services);
          await outcome;
        },
      };
    },
  };
}

/** A lower triangle of noise with a diagonal near one, and columns in no order, as act-order leaves them. */
export async function makeFactor(bench: BenchGpu, n: number, lifetime: Lifetime): Promise<FactoredHessian> {
  const { gpu, uploads } = bench;
  const factor = await makeTriangle(bench, n, lifetime);
  for (const buffer of factor.buffers) await bench.writeNoise(buffer, "F32");
  using diagonal = await gpu.memory.allocate({ label: "diagonal", bytes: n * 4 });
  await uploads.write(new Uint8Array(new Float32Array(n).fill(1).buffer), diagonal);
  await addToDiagonal(gpu, factor, diagonal);
  await gpu.queue.idle();
  const random = seededRandom(n);
  const order = Uint32Array.from({ length: n }, (_, column) => column);
  for (let last = n - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] ?? 0, order[last] ?? 0];
  }
  const known = { diagonal: new Float32Array(n), dead: new Uint8Array(n), dampeningFrac: 0.01, attempts: 1 };
  return { factor, order, ...known };
}
