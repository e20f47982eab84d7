// Values of a graph's weight inputs, read from the model one at a time.

import { invariant, UnsupportedModelError } from "../../errors.ts";
import { DTYPE_BITS, isFloatDtype, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { turnOver, type TurnedPart } from "../../formats/weights/turn-over.ts";
import { inverseFrequencies } from "../../model/rotary.ts";
import { isSimulated } from "../graph/quantize-input.ts";
import type { InputQuantization, LinearPlan, WeightInput } from "../graph/weight-input.ts";
import { dequantizeRows, quantizedScheme, type QuantizedScheme } from "./dequantize.ts";
import { linearLayout, nbitsCodes, nbitsScales, nbitsZeroPoints } from "./nbits.ts";
import type { StoredModel } from "./stored-model.ts";
import type { Linear } from "../../model/weight-description.ts";
import type { AttentionTemperature } from "../../model/mixer-description.ts";

export interface WeightShape {
  readonly dims: readonly number[];
  readonly dataType: "float32" | "uint8";
}

/** What becomes of a weight where it is placed: float32 as it is, bytes as they are, and bfloat16 as float32. */
export type PlacedValues = Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** How the model's Linears go into graphs. */
export function planLinears(model: StoredModel, maxInputBytes: number): LinearPlan {
  return {
    maxInputBytes,
    layout: (linear) => linearLayout(model, linear, maxInputBytes),
    inputQuantization: (linear) => inputQuantization(model, linear),
  };
}

/** How a Linear rounds its input; null if it does not. */
export function inputQuantization(model: StoredModel, linear: Linear): InputQuantization | null {
  const args = quantizedScheme(model, linear)?.input_activations ?? null;
  if (!args) return null;
  const scale = model.tensor(`${linear.module}.input_scale`)?.name ?? null;
  return { args, scale: args.dynamic === true ? null : scale };
}

/** Sentences about what the graph leaves out, for the report. */
export function omissions(model: StoredModel, linears: readonly Linear[]): string[] {
  const isLeftOut = linears.some((linear) => {
    const quantization = inputQuantization(model, linear);
    return quantization !== null && !isSimulated(quantization.args);
  });
  return isLeftOut
    ? [
        "Activations were kept in float32: rounding them as this scheme does is not simulated here, so that the loss on real hardware is somewhat larger.",
      ]
    : [];
}

/**
 * What a weight input is declared as.
 * @param positions rows of rotary tables
 */
export function weightShape(weight: WeightInput, positions: number): WeightShape {
  switch (weight.kind) {
    case "vector":
      return { dims: [weight.values], dataType: "float32" };
    case "rows":
      return { dims: [weight.rows, weight.linear.columns], dataType: "float32" };
    case "cosines":
    case "sines":
      return {
        dims: [positions, inverseFrequencies(weight.rotary, positions).length],
        dataType: "float32",
      };
    case "codes":
    case "scales":
    case "zeros":
      return codeShape(weight);
  }
}

type CodeInput = Extract<WeightInput, { kind: "codes" | "scales" | "zeros" }>;

function codeShape({ kind, linear: { rows, columns }, layout: { blockSize, bits } }: CodeInput): WeightShape {
  const blocks = columns / blockSize;
  if (kind === "scales") return { dims: [rows, blocks], dataType: "float32" };
  const inner = kind === "codes" ? [blocks, (blockSize * bits) / 8] : [Math.ceil((blocks * bits) / 8)];
  return { dims: [rows, ...inner], dataType: "uint8" };
}

/**
 * Reads one weight input.
 * @param positions rows of rotary tables
 * @throws UnsupportedModelError for a tensor of a dtype that is no float.
 */
export async function weightValues(
  model: StoredModel,
  weight: WeightInput,
  positions: number,
): Promise<PlacedValues> {
  switch (weight.kind) {
    case "vector": {
      const values = await readFloats(model, weight.tensor);
      if (weight.added !== 0)
        for (const [index, value] of values.entries()) values[index] = value + weight.added;
      return values;
    }
    case "rows": {
      const { linear, firstRow, rows } = weight;
      const halves = await readHalves(model, linear, firstRow, rows);
      return halves ?? (await readRows(model, linear, firstRow, rows));
    }
    case "cosines":
    case "sines":
      return rotaryTable(weight, positions);
    case "codes":
    case "scales":
    case "zeros":
      return await codeValues(model, weight);
  }
}

async function codeValues(model: StoredModel, { kind, linear, layout }: CodeInput): Promise<PlacedValues> {
  const scheme = quantizedScheme(model, linear);
  invariant(scheme, `${linear.module} is quantized`);
  if (kind === "scales") return await nbitsScales(model, linear, scheme, layout);
  if (kind === "codes") return await nbitsCodes(model, linear, scheme);
  return await nbitsZeroPoints(model, linear, scheme, layout);
}

/** Rows of a Linear's weight in float32, dequantized if need be. */
export async function readRows(
  model: StoredModel,
  linear: Linear,
  firstRow: number,
  rows: number,
): Promise<Float32Array<ArrayBuffer>> {
  const scheme: QuantizedScheme | null = quantizedScheme(model, linear);
  if (scheme) return await dequantizeRows(model, linear, scheme, firstRow, rows);
  const { turned, shape } = linear.source;
  if (turned) return await readTurned(model, linear, { ...turned, width: shape.at(-1) ?? 0 }, firstRow, rows);
  const first = linear.source.firstRow + firstRow;
  const columns = linear.columns;
  return await readFloats(model, linear.source.tensor, { first: first * columns, count: rows * columns });
}

/** Rows of a weight that lies in bfloat16, as it lies; null of any other. */
async function readHalves(
  model: StoredModel,
  linear: Linear,
  firstRow: number,
  rows: number,
): Promise<Uint16Array<ArrayBuffer> | null> {
  const { tensor, firstRow: before, turned } = linear.source;
  if (turned || quantizedScheme(model, linear) || model.tensor(tensor)?.dtype !== "BF16") return null;
  const start = (before + firstRow) * linear.columns * 2;
  return halvesOf(await model.read(tensor, { start, end: start + rows * linear.columns * 2 }));
}

function halvesOf(bytes: Uint8Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
}

/** The whole matrix is read, and turned over in float32. */
async function readTurned(
  model: StoredModel,
  { source, columns }: Linear,
  place: Pick<TurnedPart, "width" | "firstColumn" | "step">,
  firstRow: number,
  rows: number,
): Promise<Float32Array<ArrayBuffer>> {
  const { width } = place;
  const values = { first: source.firstRow * width, count: columns * width };
  const matrix = new Uint8Array((await readFloats(model, source.tensor, values)).buffer);
  return new Float32Array(turnOver(matrix, { ...place, bytesEach: 4, columns }, firstRow, rows).buffer);
}

/**
 * Values of a tensor in float32, or some of them.
 * @throws UnsupportedModelError for a dtype that is no float.
 */
export async function readFloats(
  model: StoredModel,
  name: string,
  values?: { readonly first: number; readonly count: number },
): Promise<Float32Array<ArrayBuffer>> {
  const tensor = model.tensor(name);
  invariant(tensor, `the model has ${name}`);
  const { dtype } = tensor;
  if (!isFloatDtype(dtype)) {
    throw new UnsupportedModelError(
      `The tensor "${name}" is ${dtype}; evaluation reads weights in BF16, F16 or F32, or quantized by compressed-tensors.`,
    );
  }
  const bytesEach = DTYPE_BITS[dtype] / 8;
  const bytes = await (values
    ? model.read(name, {
        start: values.first * bytesEach,
        end: (values.first + values.count) * bytesEach,
      })
    : model.read(name));
  if (dtype !== "BF16") return widenToFloat32(dtype, bytes);
  return widenHalves(halvesOf(bytes));
}

/** bfloat16 to float32, whose upper half its bits are: two bytes shifted, no table, no rounding. */
export function widenHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(halves.length);
  for (let index = 0; index < words.length; index++) words[index] = (halves[index] ?? 0) << 16;
  return new Float32Array(words.buffer);
}

/** (positions, dims / 2), the angle rounded to float32 as transformers does. */
function rotaryTable(
  { kind, rotary, temperature }: Extract<WeightInput, { kind: "cosines" | "sines" }>,
  positions: number,
): Float32Array<ArrayBuffer> {
  const frequencies = inverseFrequencies(rotary, positions);
  const of = kind === "cosines" ? Math.cos : Math.sin;
  return Float32Array.from({ length: positions * frequencies.length }, (_, index) => {
    const position = Math.floor(index / frequencies.length);
    const frequency = frequencies[index % frequencies.length] ?? 0;
    const factor = rotary.attentionFactor * temperatureAt(temperature, position);
    return of(Math.fround(position * frequency)) * factor;
  });
}

function temperatureAt(temperature: AttentionTemperature | null, position: number): number {
  if (!temperature) return 1;
  const { slope, every, offset } = temperature;
  return 1 + slope * Math.log(1 + Math.floor((position + offset) / every));
}
