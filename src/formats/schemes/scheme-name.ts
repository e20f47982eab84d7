// Names of schemes, for people and for the names of results: a preset's where the arguments are a preset's.

import { PRESET_NAMES, PRESETS, UNQUANTIZED } from "./presets.ts";
import type { QuantizationArgs, QuantizationScheme } from "./quantization-args.ts";

/**
 * The preset that has these arguments ("W4A16"), the preset with another group size ("W4A16-G64"), or bits, zero points
 * and strategy ("W4A16_ASYM-CHANNEL"). Observers and the order of quantization do not count: what they lead to is stored alike.
 */
export function schemeName(scheme: QuantizationScheme): string {
  const { weights } = scheme;
  if (!weights) return UNQUANTIZED;
  const own = keyOf(scheme, weights.group_size);
  const same = PRESET_NAMES.find((name) => keyOf(PRESETS[name].scheme, groupSizeOf(name)) === own);
  if (same) return same;
  const regrouped = PRESET_NAMES.find(
    (name) => groupSizeOf(name) !== null && keyOf(PRESETS[name].scheme, weights.group_size) === own,
  );
  if (regrouped && weights.group_size !== null) return `${regrouped}-G${weights.group_size}`;
  return `${bitsOf(weights)}${activationsOf(scheme)}${weights.symmetric ? "" : "_ASYM"}-${strategyOf(weights)}`;
}

function groupSizeOf(name: keyof typeof PRESETS): number | null {
  const { weights }: QuantizationScheme = PRESETS[name].scheme;
  return weights?.group_size ?? null;
}

/** What two schemes must share to be stored and run alike, the size of groups of weights apart. */
function keyOf({ weights, input_activations }: QuantizationScheme, group_size: number | null): string {
  return JSON.stringify([
    weights && argsKey({ ...weights, group_size }),
    input_activations && argsKey(input_activations),
  ]);
}

function argsKey(args: QuantizationArgs): readonly unknown[] {
  const { num_bits, type, symmetric, strategy, group_size, block_structure, dynamic, scale_dtype } = args;
  return [num_bits, type, symmetric, strategy, group_size, block_structure, dynamic, scale_dtype];
}

function bitsOf({ type, num_bits }: QuantizationArgs): string {
  return type === "int" ? `W${num_bits}` : `WFP${num_bits}`;
}

function activationsOf({ input_activations }: QuantizationScheme): string {
  if (!input_activations) return "A16";
  return `A${input_activations.type === "int" ? "" : "FP"}${input_activations.num_bits}`;
}

function strategyOf({ strategy, group_size, block_structure }: QuantizationArgs): string {
  if (block_structure) return `BLOCK${block_structure.join("x")}`;
  return group_size === null ? strategy.toUpperCase() : `G${group_size}`;
}
