// Inverse frequencies of rotary position embeddings, computed on the CPU as transformers computes them in float32
// (`modeling_rope_utils.py`): a table from them is exact where a GPU's sine of a large angle is not.

import { CalibrationError, invariant } from "../errors.ts";
import type { Rotary, RotaryScaling } from "./mixer-description.ts";

/**
 * Angle per position of each rotated pair, for a sequence of `length` tokens: dims / 2 values.
 */
export function inverseFrequencies(rotary: Rotary, length: number): Float32Array<ArrayBuffer> {
  const { theta, dims, scaling } = rotary;
  switch (scaling.type) {
    case "default":
      return powers(theta, dims);
    case "linear":
      return powers(theta, dims).map((frequency) => frequency / scaling.factor);
    case "dynamic":
      return powers(dynamicTheta(rotary, scaling, length), dims);
    case "llama3":
      return llama3Frequencies(powers(theta, dims), scaling);
    case "yarn":
      return yarnFrequencies(rotary, scaling);
    case "longrope":
      return longropeFrequencies(rotary, scaling, length);
    case "proportional":
      return powers(theta, dims).map((frequency, index) =>
        index < scaling.rotated ? frequency / scaling.factor : 0,
      );
  }
}

/** 1 / theta^(2i / dims), each step rounded to float32 as torch does. */
function powers(theta: number, dims: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: dims / 2 }, (_, index) => 1 / power(theta, index, dims));
}

function power(theta: number, index: number, dims: number): number {
  return Math.fround(theta ** Math.fround((2 * index) / dims));
}

type Scaling<Type extends RotaryScaling["type"]> = Extract<RotaryScaling, { type: Type }>;

function dynamicTheta(rotary: Rotary, scaling: Scaling<"dynamic">, length: number): number {
  const { factor, maxPositions } = scaling;
  const longest = Math.max(length, maxPositions);
  const growth = (factor * longest) / maxPositions - (factor - 1);
  return rotary.theta * growth ** (rotary.dims / (rotary.dims - 2));
}

/** Low frequencies are divided by the factor, high ones kept, those between blended (Llama 3.1). */
function llama3Frequencies(
  frequencies: Float32Array<ArrayBuffer>,
  scaling: Scaling<"llama3">,
): Float32Array<ArrayBuffer> {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling;
  return frequencies.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < originalMaxPositions / high) return frequency;
    if (wavelength > originalMaxPositions / low) return frequency / factor;
    const smooth = (originalMaxPositions / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** Between interpolation and extrapolation by a ramp over the dimensions (arXiv 2309.00071). */
function yarnFrequencies(rotary: Rotary, scaling: Scaling<"yarn">): Float32Array<ArrayBuffer> {
  const { theta, dims } = rotary;
  const { factor, originalMaxPositions, betaFast, betaSlow, truncate } = scaling;
  const dimensionOf = (rotations: number) =>
    (dims * Math.log(originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const start = dimensionOf(betaFast);
  const end = dimensionOf(betaSlow);
  const low = Math.max(truncate ? Math.floor(start) : start, 0);
  const high = Math.min(truncate ? Math.ceil(end) : end, dims - 1);
  const width = high === low ? 0.001 : high - low;
  return Float32Array.from({ length: dims / 2 }, (_, index) => {
    const ramp = Math.min(Math.max((index - low) / width, 0), 1);
    const frequency = power(theta, index, dims);
    return ramp / (factor * frequency) + (1 - ramp) / frequency;
  });
}

function longropeFrequencies(
  rotary: Rotary,
  scaling: Scaling<"longrope">,
  length: number,
): Float32Array<ArrayBuffer> {
  const { theta, dims } = rotary;
  const factors = length > scaling.originalMaxPositions ? scaling.longFactors : scaling.shortFactors;
  return Float32Array.from({ length: dims / 2 }, (_, index) => {
    const factor = factors[index];
    invariant(factor !== undefined, "longrope has a factor for each frequency");
    return 1 / (Math.fround(factor) * power(theta, index, dims));
  });
}

/**
 * The tables that sequences of up to `longest` tokens need: one, or for longrope a second one for sequences longer
 * than `beyond`.
 * @throws CalibrationError if dynamic scaling would give each longer sequence its own frequencies.
 */
export function rotaryVariants(
  rotary: Rotary,
  longest: number,
): { readonly beyond: number; readonly inverseFrequencies: Float32Array<ArrayBuffer> }[] {
  const { scaling } = rotary;
  if (scaling.type === "dynamic" && longest > scaling.maxPositions) {
    throw new CalibrationError(
      `A calibration sequence has ${longest} tokens, but this model's rotary embedding changes with every length above ${scaling.maxPositions} (rope_type "dynamic"). Set max_seq_length to ${scaling.maxPositions} or less.`,
    );
  }
  const short = { beyond: 0, inverseFrequencies: inverseFrequencies(rotary, 1) };
  if (scaling.type !== "longrope" || longest <= scaling.originalMaxPositions) return [short];
  return [
    short,
    {
      beyond: scaling.originalMaxPositions,
      inverseFrequencies: inverseFrequencies(rotary, longest),
    },
  ];
}
