// Headers and recipe to steps: the units of onloading, of the journal and of progress. A step is one decoder layer, or
// the tensors before all layers, or those after.

import { RecipeError } from "../errors.ts";
import { compressionFormat, isGrouped } from "../formats/schemes/compression-format.ts";
import { type FloatDtype, isFloatDtype } from "../formats/numbers/dtype.ts";
import type {
  CompressionFormat,
  QuantizationArgs,
  QuantizationScheme,
} from "../formats/schemes/quantization-args.ts";
import {
  type ConfigGroup,
  groupsOf,
  kvCacheScheme,
  type QuantizingModifier,
  quantizesNothing,
  type Recipe,
} from "../formats/recipe/recipe.ts";
import { quantizerOf } from "../formats/modifiers/quantizers.ts";
import { groupSizeAdvice } from "../formats/schemes/group-size-advice.ts";
import type { TensorSpec } from "../formats/safetensors/safetensors.ts";
import { activationTensors, storedTensors } from "../formats/weights/stored-tensors.ts";
import { type LinearClasses, NAMES_ALONE } from "../model/linear-classes.ts";
import { checkTargets } from "./targets/check-targets.ts";
import { AFTER_LAYERS, BEFORE_LAYERS, unitOf } from "./checkpoint/decoder-layers.ts";
import { isInTower, isRouter, type PlainWeight, weightOf } from "./checkpoint/find-linears.ts";
import { nothingError } from "./nothing-error.ts";
import { fusedSets } from "./fuse-modules.ts";
import { type GroupMatch, isNamed, isTargeted, matchGroup } from "./targets/match-targets.ts";
import type { SourceTensor } from "./checkpoint/read-headers.ts";
import { listSome } from "../formats/text/list-some.ts";

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
  /** Every module with a weight of two dimensions that stays unquantized and that a loader could take for a Linear. */
  readonly ignored: readonly string[];
}

/** What is known of a model beside its tensors. */
export interface ModelFacts {
  /** The architecture's Linears; names decide without them. */
  readonly classes?: LinearClasses;
  /** Key-value heads of each layer, for recipes that scale the cache head by head; null if that is not known. */
  readonly kvHeads?: number | null;
}

/** What planning gathers on its way through the tensors. */
interface Gathered {
  readonly recipe: Recipe;
  readonly classes: LinearClasses;
  readonly ignored: string[];
  readonly plain: PlainWeight[];
  readonly indivisible: QuantizeTask[];
  /** Names that targets may mean: of Linears, and of what is no Linear or chooses experts. */
  readonly linears: string[];
  readonly others: string[];
}

/**
 * Sorts tensors into steps and decides for each Linear what it becomes.
 * @throws RecipeError naming all modules whose columns the group size does not divide, or if nothing is quantized, or if
 * a target means no Linear, or a module by a name that no loader gives it.
 */
export function planSteps(
  tensors: readonly SourceTensor[],
  recipe: Recipe,
  { classes = NAMES_ALONE, kvHeads = null }: ModelFacts = {},
): StepPlan {
  const units = new Map<string, SourceTensor[]>();
  for (const tensor of tensors) {
    const unit = unitOf(tensor.name);
    const members = units.get(unit);
    if (members) members.push(tensor);
    else units.set(unit, [tensor]);
  }
  const cache = kvCacheScheme(recipe);
  const lists = { ignored: [], plain: [], indivisible: [], linears: [], others: [] };
  const gathered: Gathered = { recipe, classes, ...lists };
  const { ignored, indivisible } = gathered;
  const steps = [...units]
    .toSorted(([a], [b]) => compareUnits(a, b))
    .map(([name, members], index): PlanStep => {
      const quantize: QuantizeTask[] = [];
      const copy: SourceTensor[] = [];
      for (const tensor of members.toSorted(byPlace)) {
        const task = quantizeTask(tensor, gathered);
        if (task) quantize.push(task);
        else copy.push(tensor);
      }
      return { index, name, quantize, copy, measured: cacheTensors(members, cache, kvHeads) };
    });
  if (indivisible.length > 0) throw indivisibleError(indivisible);
  if (!quantizesNothing(recipe)) {
    checkEffect(steps, recipe, gathered);
    checkTargets(recipe, gathered);
  }
  return { steps: fuse(steps, ignored), ignored };
}

/** A recipe must do something to a Linear, or, if it is about the key-value cache alone, to that. */
function checkEffect(steps: readonly PlanStep[], recipe: Recipe, gathered: Gathered): void {
  if (steps.some((step) => step.quantize.length > 0)) return;
  if (groupsOf(recipe).length > 0) {
    throw nothingError(gathered);
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
  const tasks = steps.flatMap((step) => step.quantize);
  checkFused(tasks, leaders);
  return steps.map((step) => ({
    ...step,
    quantize: step.quantize.map((task) => ({ ...task, fusedWith: leaders.get(task.module) ?? null })),
  }));
}

/** Modules that share a global scale are observed together. */
function checkFused(tasks: readonly QuantizeTask[], leaders: ReadonlyMap<string, string>): void {
  const modifiers = new Map(tasks.map(({ module, modifier }) => [module, modifier.name]));
  for (const [module, leader] of leaders) {
    const [own, first] = [modifiers.get(module), modifiers.get(leader)];
    if (own === first) continue;
    throw new RecipeError(
      `${leader} belongs to ${first} and ${module} to ${own}, but NVFP4 gives them one global scale. Let one modifier have both.`,
    );
  }
}

function quantizeTask(tensor: SourceTensor, gathered: Gathered): QuantizeTask | null {
  const { recipe, classes, ignored, plain, indivisible } = gathered;
  const found = weightOf(tensor, classes);
  if (found?.kind === "plain") {
    plain.push(found.plain);
    gathered.others.push(found.plain.name);
    if (!found.plain.certain || isNamedByAny(found.plain.name, recipe)) ignored.push(found.plain.name);
  }
  if (found?.kind !== "linear" || !isFloatDtype(tensor.dtype)) return null;
  const { linear } = found;
  const names = isRouter(linear.name) ? gathered.others : gathered.linears;
  names.push(linear.name, ...classes.loadedAs(linear.name));
  const match = isRouter(linear.name) ? null : targetedBy(linear.name, recipe, classes);
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

/**
 * The group that a Linear belongs to; one in a tower belongs only to groups that name it.
 * @throws RecipeError if the group means it by the files' name alone: loaders would look for a plain weight.
 */
function targetedBy(module: string, recipe: Recipe, classes: LinearClasses): GroupMatch | null {
  const [loaded = module] = classes.loadedAs(module);
  const match = matchGroup([loaded, module], recipe);
  if (!match) return null;
  const named = isNamed(loaded, match.group) || isNamed(module, match.group);
  if ((isInTower(module) || isInTower(loaded)) && !named) return null;
  if (isTargeted(loaded, match.group)) return match;
  throw new RecipeError(
    `The targets ${match.group.targets.join(", ")} mean ${module}, as the files name it, but loaders call this module ${loaded} and would not find it quantized. Name it so, or by a pattern that fits both, such as re:.*${module.slice(module.lastIndexOf(".") + 1)}.`,
  );
}

/** True if a pattern or a name among the targets means the module, so that loaders would expect it quantized. */
function isNamedByAny(module: string, recipe: Recipe): boolean {
  return groupsOf(recipe).some((group) => isNamed(module, group));
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
  const modules = tasks.map(({ module, columns }) => `${module} (${columns})`);
  const common = tasks.reduce((divisor, { columns }) => gcd(divisor, columns), 0);
  return new RecipeError(
    `The group size ${size} does not divide the input columns of ${tasks.length} modules: ${listSome(modules, 8)}. ${groupSizeAdvice(common)}; or add them to ignore, or choose a scheme with one scale per channel (W8A8, FP8_DYNAMIC).`,
  );
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function compareUnits(a: string, b: string): number {
  const rank = (unit: string) => (unit === BEFORE_LAYERS ? 0 : unit === AFTER_LAYERS ? 2 : 1);
  return rank(a) - rank(b) || a.localeCompare(b, "en", { numeric: true });
}

/** In the order of the bytes, so that a long range serves several tensors. */
function byPlace(a: SourceTensor, b: SourceTensor): number {
  return a.file === b.file ? a.start - b.start : a.file < b.file ? -1 : 1;
}
