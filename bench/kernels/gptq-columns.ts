// The kernel that walks along the columns of one block for many rows at once: all of GPTQ that is not a product.

import type { Lifetime } from "../../src/disposal.ts";
import { invariant } from "../../src/errors.ts";
import { cellGrid } from "../../src/formats/schemes/compression-format.ts";
import { type QuantizationArgs, weightArgs } from "../../src/formats/schemes/quantization-args.ts";
import { type GptqTile, WALK_BLOCK, walkBlock } from "../../src/quantize/gptq/gptq-kernels.ts";
import { columnTables } from "../../src/quantize/gptq/column-tables.ts";
import type { BenchGpu, Benchmark } from "../benchmark.ts";
import { layerLinears, type Sizes } from "../model-shapes.ts";
import { makeFactor } from "./gptq.ts";

/** Columns of the weight; the kernel only sees those of its block. */
const COLUMNS = 2 * WALK_BLOCK;
const GROUP_SIZE = 128;

/** One row for each number of rows that the models' Linears have. */
export function gptqColumnBenchmarks({ models }: Sizes): Benchmark[] {
  const heights = models.flatMap((model) => layerLinears(model).map(({ rows }) => rows));
  return [...new Set(heights)].toSorted((a, b) => a - b).map(blockOf);
}

/** Within the block, the error of each column goes to every column that is still to come: rows · block². */
function blockOf(rows: number): Benchmark {
  const args = weightArgs({ num_bits: 4, strategy: "group", group_size: GROUP_SIZE, actorder: "static" });
  return {
    name: `gptq.columns/${rows}`,
    shape: `${rows} rows, ${WALK_BLOCK} columns`,
    unit: "flop",
    work: rows * WALK_BLOCK ** 2,
    async prepare(bench, lifetime) {
      const { gpu } = bench;
      const { factor, ...order } = await makeFactor(bench, COLUMNS, lifetime);
      const tile = await makeTile(bench, rows, args, columnTables(order, args).order, lifetime);
      const [pushed, codes, errors] = await gpu.memory.allocateAll([
        { label: "pushed errors", bytes: rows * COLUMNS * 4 },
        { label: "codes", bytes: rows * COLUMNS * 4 },
        { label: "errors", bytes: rows * COLUMNS * 4 },
      ]);
      for (const buffer of [pushed, codes, errors]) lifetime.use(buffer);
      const first = COLUMNS - WALK_BLOCK;
      const index = factor.layout.panels.findIndex((panel) => first < panel.firstRow + panel.rows);
      const [panel, buffer] = [factor.layout.panels[index], factor.buffers[index]];
      invariant(panel && buffer, "the factor has the block's rows");
      const block = {
        first,
        end: COLUMNS,
        panel: buffer,
        panelFirstRow: panel.firstRow,
        panelStride: panel.stride,
      };
      return { run: async () => await walkBlock(gpu, tile, block, { pushed, codes, errors }, COLUMNS) };
    },
  };
}

async function makeTile(
  bench: BenchGpu,
  rows: number,
  args: QuantizationArgs,
  table: Uint32Array<ArrayBuffer>,
  lifetime: Lifetime,
): Promise<GptqTile> {
  const cellsPerRow = COLUMNS / GROUP_SIZE;
  const weights = await bench.allocateNoise({ label: "weights", bytes: rows * COLUMNS * 2 }, "BF16");
  const scales = await bench.allocateNoise({ label: "scales", bytes: rows * cellsPerRow * 4 }, "F32");
  const [zeroPoints, order] = await bench.gpu.memory.allocateAll([
    { label: "zero points", bytes: rows * cellsPerRow * 4 },
    { label: "column order", bytes: table.byteLength },
  ]);
  for (const buffer of [weights, scales, zeroPoints, order]) lifetime.use(buffer);
  await bench.uploads.write(new Uint8Array(table.buffer), order);
  const grid = cellGrid(args, rows, COLUMNS);
  const shape = { rows, columns: COLUMNS, dtype: "BF16", args, grid } as const;
  return { ...shape, weights, order, scales, zero_points: zeroPoints };
}
