// What a model would be in each of several schemes, part by part, so that one can be chosen for each: bytes from the plans of the
// candidates, losses from what a run with all of them measured.

import type { SchemeSurvey } from "../../api/scheme-survey.ts";
import { RecipeError } from "../../errors.ts";
import { chooseSchemes, type SchemeUnit, sizeCurve } from "../../formats/schemes/choose-schemes.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { QuantizingModifier } from "../../formats/recipe/recipe.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { schemeName } from "../../formats/schemes/scheme-name.ts";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { mixedRecipe, onlyModifier } from "../../plan/recipe/mixed-recipe.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { bitsPerWeight, type Storage } from "../../plan/checkpoint/bits-per-weight.ts";
import { decoderLayers } from "../../plan/checkpoint/decoder-layers.ts";
import { elements } from "../../plan/checkpoint/summarize-model.ts";
import type { ModuleReport } from "../../api/compressor-api.ts";
import type { CompressionPlan } from "./compression-plan.ts";

/** What a run with all candidates has measured. */
export interface MeasuredSchemes {
  /** Schemes from which one is chosen for each unit; the last choice of a unit is to stay as it is. */
  readonly candidates: readonly { readonly plan: CompressionPlan; readonly modifier: QuantizingModifier }[];
  readonly units: readonly SchemeUnit[];
  /** Bytes of the result's weights beside the units. */
  readonly otherBytes: number;
  /** What bits per weight count beside the bytes of the units. */
  readonly counted: Storage;
}

/** The modifier of each candidate. @throws RecipeError if one of them is no scheme to choose among others */
function candidateModifiers(plans: readonly CompressionPlan[]): QuantizingModifier[] {
  return plans.map(({ recipe, schemes }) => {
    const modifier = onlyModifier(recipe);
    const weights = modifier?.groups[0]?.scheme.weights;
    if (modifier?.name === "GPTQModifier" && weights?.symmetric && !modifier.kv_cache_scheme) return modifier;
    throw new RecipeError(
      `A scheme for each module is chosen from recipes of GPTQ with one symmetric scheme, such as gptq-W4A16 and gptq-W8A16; ${schemes.join(" + ")} is none.`,
    );
  });
}

/** What a set of modules that one candidate alone has quantized does to the model's last hidden states. */
export interface TriedModules {
  readonly modules: readonly string[];
  readonly moved: number;
}

/**
 * Puts plans and measurements together.
 * @param reports of each candidate's modules
 * @param trials with the codes of the smallest candidate; what was not tried is not chosen for
 */
export function measuredSchemes(
  plans: readonly CompressionPlan[],
  reports: readonly (readonly ModuleReport[])[],
  trials: readonly TriedModules[],
): MeasuredSchemes {
  const modifiers = candidateModifiers(plans);
  const tasks = plans.map((plan) => tasksOf(plan));
  const lossOf = reports.map((own) => new Map(own.map(({ module, loss }) => [module, loss])));
  const tried = trials.filter(({ modules }) => modules.some((name) => lossOf.every((own) => own.has(name))));
  const units = tried.map(({ modules, moved }): SchemeUnit => {
    const losses = lossOf.map((own) => sum(modules.map((module) => own.get(module) ?? 0)));
    const sizes = tasks.map((known) => sum(modules.map((module) => storedBytes(known.get(module)))));
    const most = losses[sizes.indexOf(Math.min(...sizes))] ?? 0;
    // Errors of a Linear's output grow alike from scheme to scheme, wherever they end.
    const choices = sizes.map((bytes, scheme) => ({
      bytes,
      loss: most > 0 ? (moved * (losses[scheme] ?? 0)) / most : 0,
    }));
    const plain = sum(modules.map((module) => plainBytes(tasks[0]?.get(module))));
    return { modules, choices: [...choices, { bytes: plain, loss: 0 }] };
  });
  const [first] = plans;
  return {
    candidates: plans.flatMap((plan, index) => {
      const modifier = modifiers[index];
      return modifier ? [{ plan, modifier }] : [];
    }),
    units,
    ...(first ? besideUnits(first, units) : { otherBytes: 0, counted: { bytes: 0, weights: 0 } }),
  };
}

/** What the result has beside the units: modules that are in none, such as a head, stay as they are whatever is chosen. */
function besideUnits(
  plan: CompressionPlan,
  units: readonly SchemeUnit[],
): Pick<MeasuredSchemes, "otherBytes" | "counted"> {
  const chosenFor = new Set(units.flatMap(({ modules }) => modules));
  const layers = new Set(decoderLayers(plan.steps));
  let otherBytes = resultBytes(plan);
  let { bytes, weights } = plan.counted;
  for (const { name, quantize } of plan.steps) {
    for (const task of quantize) {
      const isChosenFor = chosenFor.has(task.module);
      const kept = isChosenFor ? 0 : plainBytes(task);
      const isCounted = isChosenFor || layers.size === 0 || layers.has(name);
      otherBytes += kept - storedBytes(task);
      bytes += (isCounted ? kept : 0) - storedBytes(task);
      weights -= isCounted ? 0 : elements(task.tensor);
    }
  }
  return { otherBytes, counted: { bytes, weights } };
}

/** What can be told of them. */
export function surveyOf({ candidates, units, otherBytes, counted }: MeasuredSchemes): SchemeSurvey {
  return {
    schemes: [...candidates.map(({ modifier }) => nameOf(modifier)), "as it is"],
    curve: sizeCurve(units).map(({ bytes, loss }) => ({
      resultBytes: otherBytes + bytes,
      bitsPerWeight: bitsPerWeight({ ...counted, bytes: counted.bytes + bytes }),
      loss,
    })),
  };
}

/** A recipe of the wanted size, or the nearest below, with what is predicted of it. */
export interface ChosenSchemes {
  readonly yaml: string;
  readonly loss: number;
  /** Modules by scheme. */
  readonly counts: readonly number[];
}

/**
 * Chooses schemes for weights of at most so many bytes.
 * @param bytes of all of the result's weights; `slack` of them are kept for what headers take
 * @throws RecipeError if that cannot be reached, with what can
 */
export function recipeOfSize(measured: MeasuredSchemes, bytes: number, slack = 0): ChosenSchemes {
  const { candidates, units, otherBytes } = measured;
  const curve = sizeCurve(units);
  const [least, greatest] = [curve[0]?.bytes ?? 0, curve.at(-1)?.bytes ?? 0].map((each) => each + otherBytes);
  const [first] = candidates;
  const chosen = chooseSchemes(units, bytes - slack - otherBytes);
  if (!chosen || !first || bytes > (greatest ?? 0))
    throw new RecipeError(
      `${formatBytes(bytes)} cannot be reached: with these schemes the weights take at least ${formatBytes((least ?? 0) + slack)}, and as they are ${formatBytes(greatest ?? 0)}. Name a size between, or other recipes.`,
    );
  const modulesOf = (scheme: number) =>
    units.flatMap(({ modules }, unit) => (chosen.schemes[unit] === scheme ? modules : []));
  const recipe = mixedRecipe(
    first.modifier,
    candidates.flatMap(({ modifier }, scheme) => {
      const [group] = modifier.groups;
      return group ? [{ scheme: group.scheme, modules: modulesOf(scheme) }] : [];
    }),
  );
  return {
    yaml: recipeYaml(recipe),
    loss: chosen.loss,
    counts: [...candidates, null].map((_, scheme) => modulesOf(scheme).length),
  };
}

function tasksOf({ steps }: CompressionPlan): ReadonlyMap<string, QuantizeTask> {
  return new Map(steps.flatMap(({ quantize }) => quantize.map((task) => [task.module, task])));
}

function storedBytes(task: QuantizeTask | undefined): number {
  return sum((task?.outputs ?? []).map(tensorBytes));
}

function plainBytes(task: QuantizeTask | undefined): number {
  return task ? task.tensor.end - task.tensor.start : 0;
}

export function resultBytes({ output }: Pick<CompressionPlan, "output">): number {
  return sum(output.shards.map(({ fileBytes }) => fileBytes));
}

function nameOf({ groups: [group] }: QuantizingModifier): string {
  return group ? (group.preset ?? schemeName(group.scheme)) : "";
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
