// What a weight costs where it is stored: one definition for what is planned, for what was made, and for what is measured.

import { tensorBytes, type TensorSpec } from "../../formats/safetensors/safetensors.ts";
import type { LinearClasses } from "../../model/linear-classes.ts";
import { decoderLayers, unitOf } from "./decoder-layers.ts";
import type { DequantizedModule } from "./dequantized-module.ts";
import type { DequantizedTensors } from "./dequantized-tensors.ts";
import { isRouter, weightOf } from "./find-linears.ts";
import type { SourceTensor } from "./read-headers.ts";
import { isStacked } from "./split-experts.ts";
import { elements } from "./summarize-model.ts";

/** How much is stored for how many weights. */
export interface Storage {
  readonly bytes: number;
  readonly weights: number;
}

/** What is stored of a quantized module, its scales and zero points included and its bias left out. */
export interface StoredModule extends Storage {
  readonly module: string;
}

/**
 * What bits per weight count: all matrices in the decoder's layers, quantized or not, but for routers, which no recipe
 * quantizes. Of what lies outside of the layers only what is quantized counts: an embedding that stays as it is says
 * nothing of a recipe. Where tensors are not numbered by layer, every matrix counts.
 * @param plain tensors that are stored as the model has them
 */
export function countedStorage(
  quantized: readonly StoredModule[],
  plain: readonly TensorSpec[],
  classes: LinearClasses,
): Storage {
  const matrices = plain.filter((tensor) => isMatrix(tensor, classes));
  const names = [...quantized.map(({ module }) => module), ...matrices.map(({ name }) => name)];
  const units = [...new Set(names.map(unitOf))];
  const layers = new Set(decoderLayers(units.map((name) => ({ name }))));
  const kept = matrices.filter(({ name }) => layers.size === 0 || layers.has(unitOf(name)));
  const counted: Storage[] = [
    ...quantized,
    ...kept.map((tensor) => ({ bytes: tensorBytes(tensor), weights: elements(tensor) })),
  ];
  return {
    bytes: counted.reduce((sum, { bytes }) => sum + bytes, 0),
    weights: counted.reduce((sum, { weights }) => sum + weights, 0),
  };
}

/** The same of a checkpoint as it lies in files; `seen` is null for one that is not quantized. */
export function checkpointStorage(
  stored: readonly SourceTensor[],
  seen: Pick<DequantizedTensors, "modules" | "tensors"> | null,
  classes: LinearClasses,
): Storage {
  if (!seen) return countedStorage([], stored, classes);
  const quantized = [...seen.modules.values()].map((module) => ({
    module: module.found.module,
    ...moduleStorage(module),
  }));
  return countedStorage(quantized, keptTensors(stored, seen), classes);
}

/** Stored bits for each weight; 0 where nothing counts. */
export function bitsPerWeight({ bytes, weights }: Storage): number {
  return weights === 0 ? 0 : (bytes * 8) / weights;
}

/** What a quantized module of a checkpoint takes. */
export function moduleStorage({ found, weight }: DequantizedModule): Storage {
  const parts = [...found.parts].filter(([part]) => part !== "bias");
  return {
    bytes: parts.reduce((sum, [, { start, end }]) => sum + end - start, 0),
    weights: weight.rows * weight.columns,
  };
}

/** Tensors of a quantized checkpoint that files hold as they are. */
export function keptTensors(
  stored: readonly SourceTensor[],
  { tensors }: Pick<DequantizedTensors, "tensors">,
): SourceTensor[] {
  const files = new Set(stored.map(({ file }) => file));
  return tensors.filter(({ file }) => files.has(file));
}

function isMatrix(tensor: TensorSpec, classes: LinearClasses): boolean {
  if (isStacked(tensor)) return true;
  const found = weightOf(tensor, classes);
  if (found?.kind === "linear") return !isRouter(found.linear.name);
  return found?.plain.reason === "turned" || found?.plain.reason === "converted";
}
