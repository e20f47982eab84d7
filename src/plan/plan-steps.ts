// Headers and recipe to steps: the units of onloading, of the journal and of progress. A step is one decoder layer, or
// the tensors before all layers, or those after.

import { RecipeError } from "../errors.ts";
import { compressionFormat, isGrouped } from "../formats/compression-format.ts";
import { type FloatDtype, isFloatDtype } from "../formats/dtype.ts";
import type {
  CompressionFormat,
  QuantizationArgs,
  QuantizationScheme,
} from "../formats/quantization-args.ts";
import {
  type ConfigGroup,
  groupsOf,
  kvCacheScheme,
  type QuantizingModifier,
  quantizesNothing,
  type Recipe,
} from "../formats/recipe.ts";
import { quantizerOf } from "../formats/modifiers/quantizers.ts";
import type { TensorSpec } from "../formats/safetensors.ts";
import { activationTensors, storedTensors } from "../formats/stored-tensors.ts";
import { isInTower, isRouter, linearOf } from "./find-linears.ts";
import { fusedSets } from "./fuse-modules.ts";
import { type GroupMatch, isNamed, matchGroup } from "./match-targets.ts";
import type { SourceTensor } from "./read-headers.ts";

export interface QuantizeTask {
  readonly module: string;
  readonly tensor: SourceTensor;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
  /** The recipe's group that targets the module. */
  readonly group: ConfigGroup;
  readonly scheme: QuantizationScheme;
  readonly weights: QuantizationArgs;
  readonly format: CompressionFormat;
  /** The modifier that chooses its codes. */
  readonly modifier: QuantizingModifier;
  /** Names the set of modules that share this one's global scale; null if it shares none. */
  readonly fusedWith: string | null;
  readonly outputs: readonly TensorSpec[];
}

export interface PlanStep {
  readonly index: number;
  /** "model.layers.3", or "before the layers", "after the layers". */
  readonly name: string;
  readonly quantize: readonly QuantizeTask[];
  /** Tensors that are carried through with name and dtype. */
  readonly copy: readonly SourceTensor[];
  /** Scales of the key-value cache, which calibration measures. */
  readonly measured: readonly TensorSpec[];
}

export interface StepPlan {
  readonly steps: readonly PlanStep[];
  /** Every Linear that stays unquantized: what config.json must list in ignore. */
  readonly ignored: readonly string[];
}

const BEFORE = "before the layers";
const AFTER = "after the layers";

/**
 * Sorts tensors into steps and decides for each Linear what it becomes.
 * @param kvHeads key-value heads of each layer, for recipes that scale the cache head by head; null if that is not known
 * @throws RecipeError naming all modules whose columns the group size does not divide, or if nothing is quantized.
 */
export function planSteps(
  tensors: readonly SourceTensor[],
  recipe: Recipe,
  kvHeads: number | null = null,
): StepPlan {
  const units = new Map<string, SourceTensor[]>();
  for (const tensor of tensors) {
    const unit = unitOf(tensor.name);
    const members = units.get(unit);
    if (members) members.push(tensor);
    else units.set(unit, [tensor]);
  }
  const cache = kvCacheScheme(recipe);
  const ignored: string[] = [];
  const indivisible: QuantizeTask[] = [];
  const steps = [...units]
    .toSorted(([a], [b]) => compareUnits(a, b))
    .map(([name, members], index): PlanStep => {
      const quantize: QuantizeTask[] = [];
      const copy: SourceTensor[] = [];
      for (const tensor of members.toSorted(byPlace)) {
        const task = quantizeTask(tensor, recipe, ignored, indivisible);
        if (task) quantize.push(task);
        else copy.push(tensor);
      }
      return { index, name, quantize, copy, measured: cacheTensors(members, cache, kvHeads) };
    });
  if (indivisible.length > 0) throw indivisibleError(indivisible);
  if (!quantizesNothing(recipe)) checkEffect(steps, recipe);
  return { steps: fuse(steps, ignored), ignored };
}

/** A recipe must do something to a Linear, or, if it is about the key-value cache alone, to that. */
function checkEffect(steps: readonly PlanStep[], recipe: Recipe): void {
  if (steps.some((step) => step.quantize.length > 0)) return;
  if (groupsOf(recipe).length > 0) {
    throw new RecipeError(
      "The recipe quantizes nothing in this model: no Linear weight matches its targets. Check targets and ignore.",
    );
  }
  if (steps.every((step) => step.measured.length === 0)) {
    throw new RecipeError(
      "The recipe quantizes the key-value cache alone, but no attention with a k_proj or qkv_proj was found in this model. Give the recipe a scheme.",
    );
  }
}

/** Tells each task which modules share its global scale. */
function fuse(steps: readonly PlanStep[], ignored: readonly string[]): PlanStep[] {
  const leaders = fusedSets([
    ...steps.flatMap((step) => step.quantize),
    ...ignored.map((module) => ({ module, weights: null })),
  ]);
  return steps.map((step) => ({
    ...step,
    quantize: step.quantize.map((task) => ({ ...task, fusedWith: leaders.get(task.module) ?? null })),
  }));
}

function quantizeTask(
  tensor: SourceTensor,
  recipe: Recipe,
  ignored: string[],
  indivisible: QuantizeTask[],
): QuantizeTask | null {
  const linear = linearOf(tensor);
  if (!linear || !isFloatDtype(tensor.dtype)) return null;
  const match = isRouter(linear.name) ? null : targetedBy(linear.name, recipe);
  const weights = match?.group.scheme.weights ?? null;
  if (!match || !weights) {
    ignored.push(linear.name);
    return null;
  }
  const { rows, columns } = linear;
  const { scheme } = match.group;
  const task = {
    module: linear.name,
    tensor,
    dtype: tensor.dtype,
    rows,
    columns,
    group: match.group,
    scheme,
    weights,
    format: compressionFormat(scheme),
    modifier: match.modifier,
    fusedWith: null,
  };
  if (isGrouped(weights) && columns % (weights.group_size ?? columns) !== 0) {
    indivisible.push({ ...task, outputs: [] });
    return { ...task, outputs: [] };
  }
  const outputs = storedTensors(linear.name, scheme, tensor.dtype, [rows, columns]);
  return {
    ...task,
    outputs: quantizerOf(task.modifier.name).ordersColumns
      ? [...outputs, ...groupIndex(linear.name, weights, columns)]
      : outputs,
  };
}

/** The group that a Linear belongs to; one in a tower belongs only to groups that name it. */
function targetedBy(module: string, recipe: Recipe): GroupMatch | null {
  const match = matchGroup(module, recipe);
  return match && isInTower(module) && !isNamed(module, match.group) ? null : match;
}

/** The scales of keys and values, which belong to the module that holds the projections. */
function cacheTensors(
  members: readonly SourceTensor[],
  cache: QuantizationArgs | null,
  kvHeads: number | null,
): TensorSpec[] {
  if (cache?.strategy === "attn_head" && kvHeads === null) {
    throw new RecipeError(
      'config.json does not say how many key-value heads the model has (num_key_value_heads): the cache can have one scale (strategy "tensor"), but not one a head.',
    );
  }
  return members.flatMap(({ name, dtype }) => {
    const attention = /^(.*)\.(k_proj|qkv_proj|query_key_value)\.weight$/.exec(name)?.[1];
    if (attention === undefined || isInTower(attention) || !isFloatDtype(dtype)) return [];
    const parts = (["k", "v"] as const).flatMap((what) =>
      activationTensors(what, cache, dtype, kvHeads ?? 1),
    );
    return parts.map((part) => ({ ...part, name: `${attention}.${part.name}` }));
  });
}

/** actorder "group" forms groups in the order of quantization: loaders need the group of each column. */
function groupIndex(module: string, weights: QuantizationArgs, columns: number): TensorSpec[] {
  if (weights.actorder !== "group" || weights.strategy !== "group") return [];
  return [{ name: `${module}.weight_g_idx`, dtype: "I32", shape: [columns] }];
}

function indivisibleError(tasks: readonly QuantizeTask[]): RecipeError {
  const [first] = tasks;
  const size = first?.weights.group_size ?? 0;
  const shown = tasks.slice(0, 8).map(({ module, columns }) => `${module} (${columns})`);
  const more = tasks.length > shown.length ? ` and ${tasks.length - shown.length} more` : "";
  const common = tasks.reduce((divisor, { columns }) => gcd(divisor, columns), 0);
  const fitting = [128, 64, 32, 16].find((candidate) => common % candidate === 0);
  const advice = fitting
    ? `A group size of ${fitting} divides all of them`
    : "No usual group size divides all of them";
  return new RecipeError(
    `The group size ${size} does not divide the input columns of ${tasks.length} modules: ${shown.join(", ")}${more}. ${advice}; or add them to ignore, or choose a scheme with one scale per channel (W8A8, FP8_DYNAMIC).`,
  );
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** "model.layers.3" for "model.layers.3.mlp.up_proj.weight": the name up to its first number. */
function unitOf(name: string): string {
  const match = /^(?:[^.]+\.)*?\d+(?=\.|$)/.exec(name);
  if (match) return match[0];
  return /embed|wte|wpe/i.test(name) ? BEFORE : AFTER;
}

function compareUnits(a: string, b: string): number {
  const rank = (unit: string) => (unit === BEFORE ? 0 : unit === AFTER ? 2 : 1);
  return rank(a) - rank(b) || a.localeCompare(b, "en", { numeric: true });
}

/** In the order of the bytes, so that a long range serves several tensors. */
function byPlace(a: SourceTensor, b: SourceTensor): number {
  return a.file === b.file ? a.start - b.start : a.file < b.file ? -1 : 1;
}
