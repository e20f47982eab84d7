// Tiny random checkpoints, one an architecture, with hidden states and logits as PyTorch computes them in float32
// (e2e/fixtures/architectures; written by transformers 5.17).

import type { GpuLinear, LayerWeights } from "../calibrate/forward/layer-weights.ts";
import { type FloatDtype, widenToFloat32 } from "../formats/numbers/dtype.ts";
import { HEADER_PREFIX_BYTES, parseHeader, parseHeaderLength } from "../formats/safetensors/safetensors.ts";
import { turnOver } from "../formats/weights/turn-over.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import type { DecoderDescription } from "../model/decoder-description.ts";
import { layerLinears } from "../model/layer-linears.ts";
import type { TestGpu } from "./open-test-gpu.ts";
import type { Linear } from "../model/weight-description.ts";

/** Those that both executors are held against. */
export const ARCHITECTURES = [
  "afmoe",
  "apertus",
  "cohere",
  "deepseek-v3",
  "dots1",
  "falcon-h1",
  "gemma2",
  "gemma3",
  "gemma4",
  "gemma4-moe",
  "gpt-neox",
  "gpt-oss",
  "granite",
  "lfm2",
  "llama",
  "llama-bias",
  "llama3-rope",
  "mimo-v2",
  "mistral-sliding",
  "mixtral",
  "olmo2",
  "phi3",
  "phimoe",
  "qwen2",
  "qwen2-moe",
  "qwen3",
  "qwen3-moe",
  "qwen3-next",
  "smollm3",
  "stablelm",
  "starcoder2",
];

export interface FixtureTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export type FixtureTensors = ReadonlyMap<string, FixtureTensor>;

export interface ArchitectureFixture {
  readonly config: Record<string, unknown>;
  readonly tensors: FixtureTensors;
  /** (sequences, tokens) ids, then hidden_0 … hidden_n, (sequences, tokens, hidden), and logits. */
  readonly reference: FixtureTensors;
}

/** @param folder where the page's server has the fixtures */
export async function loadArchitecture(
  name: string,
  folder = "/e2e/fixtures/architectures",
): Promise<ArchitectureFixture> {
  const [config, model, reference] = await Promise.all(
    ["config.json", "model.safetensors", "reference.safetensors"].map((file) =>
      fetchBytes(`${folder}/${name}/${file}`),
    ),
  );
  return {
    config: JSON.parse(new TextDecoder().decode(config)),
    tensors: parseTensors("model.safetensors", model ?? new Uint8Array()),
    reference: parseTensors("reference.safetensors", reference ?? new Uint8Array()),
  };
}

async function fetchBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(new URL(path, globalThis.location.href));
  if (!response.ok) throw new Error(`The fixture ${path} answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The tensors of a safetensors file in memory. */
export function parseTensors(file: string, bytes: Uint8Array<ArrayBuffer>): FixtureTensors {
  const length = parseHeaderLength(file, bytes.subarray(0, HEADER_PREFIX_BYTES), bytes.byteLength);
  const header = bytes.subarray(HEADER_PREFIX_BYTES, HEADER_PREFIX_BYTES + length);
  const entries = parseHeader(file, header, bytes.byteLength);
  return new Map(
    entries.map(({ name, dtype, shape, start, end }) => [
      name,
      { dtype, shape, bytes: bytes.subarray(start, end) },
    ]),
  );
}

export function floatDtype(dtype: string): FloatDtype {
  if (dtype === "BF16" || dtype === "F16" || dtype === "F32") return dtype;
  throw new Error(`${dtype} is no float dtype`);
}

/** A tensor's values as float32. */
export function floatsOf(tensors: FixtureTensors, name: string): Float32Array<ArrayBuffer> {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`The fixture has no tensor ${name}`);
  return widenToFloat32(floatDtype(tensor.dtype), tensor.bytes);
}

export interface FixtureWeights extends LayerWeights, Disposable {}

/**
 * All weights of a fixture, resident. With `tileRows` a Linear comes in tiles of that many rows, as it does where
 * memory is short.
 */
export function fixtureWeights(
  test: TestGpu,
  description: DecoderDescription,
  tensors: FixtureTensors,
  tileRows = Number.POSITIVE_INFINITY,
): FixtureWeights {
  const linears = new Map<string, Linear>(
    [description.head.linear, ...description.layers.flatMap(layerLinears)].map((linear) => [
      linear.module,
      linear,
    ]),
  );
  const buffers = new Map<string, LedgerBuffer>();
  const upload = async (name: string, data: ArrayBufferView) => {
    const buffer = buffers.get(name) ?? (await test.upload(name, data));
    buffers.set(name, buffer);
    return buffer;
  };
  return {
    async *rowTiles(module): AsyncGenerator<GpuLinear> {
      const linear = linears.get(module);
      const tensor = linear && tensors.get(linear.source.tensor);
      if (!tensor) throw new Error(`The fixture has no Linear ${module}`);
      const { rows, columns } = linear;
      const dtype = floatDtype(tensor.dtype);
      const bytes = weightBytes(linear, tensor);
      const rowBytes = bytes.byteLength / rows;
      for (let firstRow = 0; firstRow < rows; firstRow += tileRows) {
        const count = Math.min(tileRows, rows - firstRow);
        const part = bytes.slice(firstRow * rowBytes, (firstRow + count) * rowBytes);
        const weight = await upload(`${module} from row ${firstRow}`, part);
        yield { weight, dtype, stride: columns, firstRow, rows: count };
      }
    },
    vector: async (name) => await upload(name, floatsOf(tensors, name)),
    [Symbol.dispose]() {
      for (const buffer of buffers.values()) buffer[Symbol.dispose]();
    },
  };
}

/** A Linear's weight, row after row, as its tensor's dtype. */
export function weightBytes(
  { source, rows, columns }: Linear,
  tensor: FixtureTensor,
): Uint8Array<ArrayBuffer> {
  const { bytes, shape } = tensor;
  const width = shape.at(-1) ?? 0;
  const bytesEach = bytes.byteLength / shape.reduce((all, each) => all * each, 1);
  const start = source.firstRow * width * bytesEach;
  if (!source.turned) return bytes.slice(start, start + rows * columns * bytesEach);
  const matrix = bytes.slice(start, start + columns * width * bytesEach);
  return turnOver(matrix, { ...source.turned, bytesEach, width, columns }, 0, rows);
}

/** Largest difference over the reference's standard deviation. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const values = Array.from(expected);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const largest = values.reduce(
    (worst, value, index) => Math.max(worst, Math.abs((actual[index] ?? Number.NaN) - value)),
    0,
  );
  return largest / Math.sqrt(variance);
}
