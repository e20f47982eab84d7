// SmoothQuant and AWQ along every mapping that is read off a description: the layer's error beside that of plain rounding.

import { expect, it } from "vitest";
import { weightArgs } from "../../formats/quantization-args.ts";
import { factsOf } from "../../model/mixers/facts-of.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { type LayerDescription, rowSize } from "../../model/decoder-description.ts";
import { type Mapping, layerMappings } from "../../model/mappings.ts";
import type { Linear } from "../../model/weight-description.ts";
import { foldLayer } from "../../onload/fold-layer.ts";
import { candidates, candidateScales } from "../../quantize/awq/candidates.ts";
import { referenceColumnShares, referenceErrors, referenceLoss } from "../../quantize/awq/reference.ts";
import { NO_STATISTICS } from "../../quantize/observe/observe-weight.ts";
import { foldsOf } from "../../quantize/rewriter.ts";
import { raiseColumnMagnitudes, smoothingScales } from "../../quantize/smoothquant/smoothing-scales.ts";
import { type FixtureTensors, weightBytes } from "../../testing/architecture-fixture.ts";
import { floatFixture, hostOf } from "../../testing/float-fixture.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { referenceLayer, type ReferenceLinears } from "../../testing/reference-layer.ts";

const FAMILIES = [
  "cohere",
  "gemma2",
  "gemma3",
  "granite",
  "llama",
  "llama-bias",
  "llama3-rope",
  "mistral-sliding",
  "mixtral",
  "olmo2",
  "phi3",
  "qwen2",
  "qwen2-moe",
  "qwen3",
  "qwen3-moe",
  "smollm3",
  "stablelm",
  "starcoder2",
];
const LENGTHS = [32, 16];
const TOKENS = 48;
/** As language models have them: a few channels that reach much further than the others. */
const OUTLIERS = new Set([3, 17, 40]);
const OUTLIER = 20;
const SMOOTHQUANT = { smoothing_strength: 0.5, algorithm: "smoothquant" } as const;
/**
 * AWQ's losses are those of each Linear on all tokens, while a layer gives out those of the experts that a token goes to: of
 * mixtures of random weights some draws lose a little more than by plain rounding (0.87 to 1.42 of it in qwen2-moe).
 */
const AWQ_AMONG_EXPERTS = 1.5;
const AWQ = { duo_scaling: true, n_grid: 5 } as const;

/** Values rounded to 2^bits − 1 even steps over the range of each run of `size`. */
function rounded(values: ArrayLike<number>, size: number, bits: number): Float64Array {
  const result = Float64Array.from(values);
  for (let start = 0; start < result.length; start += size) {
    const run = result.subarray(start, start + size);
    const most = run.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    const step = (2 * most) / (2 ** bits - 1) || 1;
    run.set(
      run.map(
        (value) =>
          Math.max(Math.min(Math.round(value / step), 2 ** (bits - 1) - 1), -(2 ** (bits - 1))) * step,
      ),
    );
  }
  return result;
}

/** Linears of a scheme; what is never quantized stays. */
function quantized(kept: ReadonlySet<string>, scheme: "W8A8" | "W4A16"): ReferenceLinears {
  return {
    weight: ({ module, columns }, values) => {
      if (kept.has(module)) return values;
      return scheme === "W8A8" ? rounded(values, columns, 8) : rounded(values, groupOf(columns), 4);
    },
    input: ({ module, columns }, x) => (kept.has(module) || scheme === "W4A16" ? x : rounded(x, columns, 8)),
  };
}

function groupOf(columns: number): number {
  return columns % 32 === 0 ? 32 : 16;
}

interface Input {
  readonly x: Float64Array;
  readonly mapping: Mapping;
  readonly tensors: FixtureTensors;
}

function bytesOf({ tensors }: Input, linear: Linear): Uint8Array<ArrayBuffer> {
  const tensor = tensors.get(linear.source.tensor);
  if (!tensor) throw new Error(`The fixture has no tensor ${linear.source.tensor}`);
  return weightBytes(linear, tensor);
}

function smoothed(input: Input): Float32Array<ArrayBuffer> {
  const { x, mapping } = input;
  const { columns } = mapping;
  const column = (channel: number) =>
    Array.from({ length: TOKENS }, (_, token) => x[token * columns + channel] ?? 0);
  const weights = new Float32Array(columns);
  for (const linear of mapping.balance) raiseColumnMagnitudes("F32", bytesOf(input, linear), weights);
  const low = Float32Array.from(weights, (_, channel) => Math.min(...column(channel)));
  const high = Float32Array.from(weights, (_, channel) => Math.max(...column(channel)));
  return smoothingScales({ dtype: "F32", low, high, weights }, SMOOTHQUANT);
}

function awqScales(input: Input): Float32Array<ArrayBuffer> {
  const { x, mapping } = input;
  const { columns } = mapping;
  const h = new Float64Array(columns ** 2);
  const means = new Float32Array(columns);
  for (let start = 0; start < x.length; start += columns) {
    const row = x.subarray(start, start + columns);
    for (const [i, value] of row.entries()) {
      means[i] = (means[i] ?? 0) + Math.abs(value) / TOKENS;
      for (const [j, other] of row.entries()) h[i * columns + j] = (h[i * columns + j] ?? 0) + value * other;
    }
  }
  const args = weightArgs({ num_bits: 4, strategy: "group", group_size: groupOf(columns) });
  const layers = mapping.balance
    .filter((linear) => !mapping.carried.includes(linear))
    .map((linear) => ({
      weight: {
        values: new Float32Array(bytesOf(input, linear).buffer),
        dtype: "F32" as const,
        rows: linear.rows,
        columns,
      },
      args,
    }));
  const w = referenceColumnShares(layers);
  const losses = candidates(AWQ).map((candidate) => {
    const scales =
      candidate.ratio === 0 ? new Float32Array(columns).fill(1) : candidateScales({ x: means, w }, candidate);
    const loss = layers.reduce(
      (sum, { weight }) =>
        sum + referenceLoss(referenceErrors(weight, args, scales, NO_STATISTICS), h, columns),
      0,
    );
    return { scales, loss };
  });
  return losses.reduce((best, each) => (each.loss < best.loss ? each : best)).scales;
}

/** The layer's tensors with factors along its mappings, one after the other, each by what its Linears see then. */
function rewritten(
  layer: LayerDescription,
  tensors: FixtureTensors,
  hidden: Float32Array,
  scalesOf: (input: Input) => Float32Array<ArrayBuffer>,
) {
  const { copies, host } = hostOf(tensors);
  const folding = foldLayer(host);
  // Factors of one mapping leave what the Linears of another see as it was.
  const { inputs } = referenceLayer(layer, tensors, hidden, LENGTHS);
  for (const mapping of layerMappings(layer)) {
    const x = inputs.get(mapping.balance[0]?.module ?? "");
    if (!x) throw new Error(`Nothing reads ${mapping.smooth}`);
    folding.add(foldsOf(mapping, scalesOf({ x, mapping, tensors: copies })));
  }
  return copies;
}

/** What stays as it is: routers, and attention before them, by whose error tokens would go to other experts. */
function keptModules(layer: LayerDescription): ReadonlySet<string> {
  const carried = layerMappings(layer).flatMap((mapping) => mapping.carried);
  const mixing = layer.mixers.map(factsOf).flatMap(({ inputs, output }) => [...inputs.flat(), output]);
  const kept = layer.feedForward?.kind === "experts" ? [...carried, ...mixing] : carried;
  return new Set(kept.map(({ module }) => module));
}

function squaredError(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + (value - (b[index] ?? 0)) ** 2, 0);
}

it.each(FAMILIES)(
  "a layer of %s loses less by SmoothQuant, and by AWQ but for mixtures, than by plain rounding",
  (name) => {
    const { config, tensors } = floatFixture(name);
    const description = describeDecoder(config, tensors.keys());
    const { layers } = description;
    const kinds = new Map(layers.map((layer) => [layerMappings(layer).length, layer]));
    for (const layer of kinds.values()) {
      const width = rowSize(description);
      const hidden = randomNormal(TOKENS * width, seededRandom(5)).map((value, index) =>
        OUTLIERS.has(index % width) ? OUTLIER * value : value,
      );
      const truth = referenceLayer(layer, tensors, hidden, LENGTHS).output;
      const kept = keptModules(layer);
      for (const [scheme, scalesOf] of [
        ["W8A8", smoothed],
        ["W4A16", awqScales],
      ] as const) {
        const linears = quantized(kept, scheme);
        const plain = squaredError(referenceLayer(layer, tensors, hidden, LENGTHS, linears).output, truth);
        const folded = rewritten(layer, tensors, hidden, scalesOf);
        const own = squaredError(referenceLayer(layer, folded, hidden, LENGTHS, linears).output, truth);
        expect(own).toBeLessThan(
          scheme === "W4A16" && layer.feedForward?.kind === "experts" ? AWQ_AMONG_EXPERTS * plain : plain,
        );
      }
    }
  },
);
