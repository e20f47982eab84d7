// Round to nearest of one tile in every scheme that a preset has, and with the observers that search.

import { invariant } from "../../src/errors.ts";
import { compressionFormat } from "../../src/formats/schemes/compression-format.ts";
import { PRESET_NAMES, PRESETS, type PresetName } from "../../src/formats/schemes/presets.ts";
import { type QuantizationArgs, weightArgs } from "../../src/formats/schemes/quantization-args.ts";
import type { CompressionFormat } from "../../src/formats/schemes/quantization-args.ts";
import { observeTile, PLAIN_CONTEXT, type TileContext } from "../../src/quantize/observe/observe-tile.ts";
import { POWER_TABLE_BYTES, powerTable, powerTableFor } from "../../src/quantize/observe/power-table.ts";
import { quantizeTile } from "../../src/quantize/rtn/quantize-tile.ts";
import {
  type RtnTask,
  TILE_BUFFER_NAMES,
  tileBufferBytes,
  type TileBuffers,
} from "../../src/quantize/rtn/tile-buffers.ts";
import type { Lifetime } from "../../src/disposal.ts";
import type { BenchGpu, Benchmark } from "../benchmark.ts";
import { shapeText, type Sizes } from "../model-shapes.ts";

interface Scheme {
  readonly name: string;
  readonly weights: QuantizationArgs;
  readonly format: CompressionFormat;
}

export function roundToNearestBenchmarks({ models, tileBytes }: Sizes): Benchmark[] {
  const columns = models.at(-1)?.hidden ?? 0;
  const rows = tileBytes / (columns * 2);
  return [...presetSchemes(), ...searchingSchemes()].map((scheme) => roundTile(scheme, rows, columns));
}

/** Presets by what they do to weights: those that differ only in their activations share a row. */
function presetSchemes(): Scheme[] {
  const groups = Map.groupBy(PRESET_NAMES, (name) => JSON.stringify(schemeOf(name)));
  return Array.from(groups.values(), (names) => ({ ...schemeOf(names[0]), name: names.join("+") }));
}

function schemeOf(name: PresetName = "W4A16"): Omit<Scheme, "name"> {
  const { scheme } = PRESETS[name];
  invariant(scheme.weights, "every preset quantizes weights");
  return { weights: scheme.weights, format: compressionFormat(scheme) };
}

function searchingSchemes(): Scheme[] {
  return (["W4A16", "NVFP4A16", "FP8_BLOCK"] as const).map((name) => {
    const scheme = schemeOf(name);
    const weights = weightArgs({ ...scheme.weights, observer: "memoryless_mse" });
    return { ...scheme, weights, name: `${name} by memoryless_mse` };
  });
}

/** Bytes: the source's weights in, codes and scales out. */
function roundTile({ name, weights, format }: Scheme, rows: number, columns: number): Benchmark {
  const task: RtnTask = { module: "m", dtype: "BF16", rows, columns, weights, format };
  const sizes = tileBufferBytes(task, rows);
  return {
    name: `rtn/${name}`,
    shape: shapeText(rows, columns),
    unit: "byte",
    work: sizes.source + sizes.codes + sizes.storedScales + sizes.storedZeroPoints,
    async prepare(bench, lifetime) {
      const buffers = await makeBuffers(bench, task, lifetime);
      const context = await contextOf(bench, task, lifetime);
      const { gpu } = bench;
      const shared = context.statistics !== PLAIN_CONTEXT.statistics;
      return {
        async run() {
          if (shared) await observeTile(gpu, task, rows, buffers, context);
          await quantizeTile(gpu, task, { firstRow: 0, rows }, buffers, context);
        },
      };
    },
  };
}

async function makeBuffers(bench: BenchGpu, task: RtnTask, lifetime: Lifetime): Promise<TileBuffers> {
  const sizes = tileBufferBytes(task, task.rows);
  const made = [];
  for (const name of TILE_BUFFER_NAMES) {
    const request = { label: `tile ${name}`, bytes: sizes[name] };
    const buffer =
      name === "source"
        ? await bench.allocateNoise(request, "BF16")
        : await bench.gpu.memory.allocate(request);
    made.push([name, lifetime.use(buffer)] as const);
  }
  return Object.fromEntries(made) as unknown as TileBuffers;
}

/** Where tiles share a scale they are observed first; what that would give is set here. */
async function contextOf(bench: BenchGpu, { weights }: RtnTask, lifetime: Lifetime): Promise<TileContext> {
  const table = powerTableFor(weights, "BF16");
  const powers =
    table && lifetime.use(await bench.gpu.memory.allocate({ label: "powers", bytes: POWER_TABLE_BYTES }));
  if (powers) await bench.uploads.write(new Uint8Array(powerTable(table).buffer), powers);
  const plain = { ...PLAIN_CONTEXT, powers };
  if (weights.strategy === "tensor")
    return { ...plain, statistics: { range: [-0.1, 0.1], globalScale: null } };
  if (weights.strategy !== "tensor_group") return plain;
  return { ...plain, statistics: { range: null, globalScale: (448 * 6) / 0.1 } };
}
