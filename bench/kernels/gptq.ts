// GPTQ of one Linear from weights on the host to codes on the host, with the factor of its input's Hessian at hand.

import type { Lifetime } from "../../src/disposal.ts";
import { weightArgs } from "../../src/formats/quantization-args.ts";
import { addToDiagonal } from "../../src/gpu/triangular/diagonal.ts";
import type { FactoredHessian } from "../../src/quantize/gptq/factor-hessian.ts";
import { gptqTileRows, quantizeModule } from "../../src/quantize/gptq/quantize-module.ts";
import type { GptqTask } from "../../src/quantize/gptq/quantize-tile.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { type BenchGpu, type Benchmark, hostNoise } from "../benchmark.ts";
import { layerLinears, shapeText, type Sizes } from "../model-shapes.ts";
import { makeTriangle } from "./triangular.ts";

/** As pipeline/calibration-memory.ts has it. */
const TILE_BYTES = 512 * 1024 ** 2;

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
  const task: GptqTask = { module: "m", dtype: "BF16", rows, columns, weights, format: "pack-quantized" };
  return {
    name,
    shape: shapeText(rows, columns),
    unit: "flop",
    work: rows * columns ** 2,
    async prepare(bench, lifetime) {
      const { gpu, uploads, readbacks, noise } = bench;
      const factored = await makeFactor(bench, columns, lifetime);
      const rowBytes = columns * 2;
      const source = hostNoise(noise.BF16, rows * rowBytes);
      const meaning = new Uint8Array(source.byteLength);
      const { maxStorageBufferBindingSize } = gpu.device.limits;
      const tileRows = gptqTileRows(task, TILE_BYTES, maxStorageBufferBindingSize);
      const part = (of: Uint8Array<ArrayBuffer>) => (first: number, count: number) =>
        of.subarray(first * rowBytes, (first + count) * rowBytes);
      const services = {
        gpu,
        uploads,
        readbacks,
        weightRows: part(source),
        meaningRows: part(meaning),
        write: () => undefined,
        checkpoint: async () => await Promise.resolve(),
      };
      return { run: async () => void (await quantizeModule(task, factored, tileRows, services)) };
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
  return { factor, order, dead: new Uint8Array(n), dampeningFrac: 0.01, attempts: 1 };
}
