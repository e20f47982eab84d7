// Several results in one run: the model comes once, a layer's statistics are collected once, and each recipe quantizes from them.
// Hidden states follow one of the results, which leads the run.

import type { JobOptions, RecipeChoice } from "../../api/job-options.ts";
import { invariant, RecipeError } from "../../errors.ts";
import type { AdapterSummary } from "../../gpu/device/adapter-summary.ts";
import { quantizerOf } from "../../formats/modifiers/quantizers.ts";
import {
  driftShare,
  kvCacheScheme,
  needsCalibration,
  quantizingModifiers,
  type Recipe,
  rewritingModifiers,
} from "../../formats/recipe/recipe.ts";
import { planTiling } from "../../quantize/rtn/plan-tiling.ts";
import { hostLimit } from "../calibration/memory/host-memory.ts";
import { planCalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { batchNotes } from "./batch-notes.ts";
import { planCompression, type PlanServices } from "./plan-compression.ts";
import { digest, readRecipe } from "./plan-job.ts";
import { calibratedStep } from "./planned-step.ts";

/** A result as a job of its own: what it would be planned and run with if it were alone. */
export interface PlannedResult {
  readonly plan: CompressionPlan;
  readonly options: JobOptions;
}

export interface RunPlan {
  /** The plan of the leading result, with room and statistics for all. */
  readonly lead: CompressionPlan;
  /** In the order in which they were asked for. */
  readonly results: readonly PlannedResult[];
  /** What is to be known of making them together. */
  readonly notes: readonly string[];
}

/**
 * Plans everything that `options` asks for.
 * @throws what `planCompression` throws; RecipeError if the recipes cannot be made of one pass over the model
 */
export async function planRun(
  model: OpenModel,
  options: JobOptions,
  services: PlanServices,
): Promise<RunPlan> {
  checkLeader(options);
  const asked = resultsOf(options);
  const [first] = asked;
  invariant(first, "something is asked for");
  if (asked.length === 1 && !first.along) {
    const plan = await planCompression(model, first, services);
    return { lead: plan, results: [{ plan, options: first }], notes: [] };
  }
  if (options.share)
    throw new RecipeError(
      "Samples are shared for one recipe at a time. Ask for the others in jobs of their own.",
    );
  if (options.part)
    throw new RecipeError(
      "A part of a model is made for one recipe at a time. Ask for the others in jobs of their own.",
    );
  const along = leader(options);
  checkTogether([...asked.map(({ recipe }) => recipe), along].map(readRecipe));
  const alone = await planCompression(model, optionsFor(options, along), services);
  const results: PlannedResult[] = [];
  for (const own of asked) {
    const plan = await planCompression(model, own, services);
    const jobId = own.along ? await digest([plan.jobId, "along", alone.jobId]) : plan.jobId;
    results.push({ plan: { ...plan, jobId }, options: own });
  }
  const ids = results.map(({ plan }) => plan.jobId);
  if (new Set(ids).size < ids.length)
    throw new RecipeError("Two of the recipes are the same. Name each of them once.");
  return joined(model, alone, results, { options, adapter: services.adapter });
}

/** What each result is asked for with, as a job of its own. */
function resultsOf(options: JobOptions): JobOptions[] {
  const { beside = [] } = options;
  const along = leader(options);
  const isSeen = options.calibration?.propagate_error === true && choosesByText(readRecipe(along));
  return [options.recipe, ...beside].map((recipe) => {
    const own = optionsFor(options, recipe);
    const isOther = JSON.stringify(recipe) !== JSON.stringify(along);
    return isSeen && isOther && own.calibration ? { ...own, along } : own;
  });
}

/** The recipe that hidden states follow: the first that chooses codes by a text, unless one is named. */
function leader({ recipe, beside = [], along }: JobOptions): RecipeChoice {
  if (along) return along;
  const all = [recipe, ...beside];
  return (
    all.find((each) => choosesByText(readRecipe(each))) ??
    all.find((each) => needsCalibration(readRecipe(each))) ??
    recipe
  );
}

/** @throws RecipeError if hidden states are to follow a recipe that they would not follow */
function checkLeader({ along, calibration }: JobOptions): void {
  if (!along || (choosesByText(readRecipe(along)) && calibration?.propagate_error !== false)) return;
  throw new RecipeError(
    calibration?.propagate_error === false
      ? "Every layer is calibrated on the original weights here: hidden states follow no recipe, and naming one would change nothing. Leave it out."
      : "Hidden states are to follow a recipe that chooses no codes by them, and passes on its original weights. Name one with GPTQ, or none.",
  );
}

function choosesByText(recipe: Recipe): boolean {
  return quantizingModifiers(recipe).some(({ name }) => quantizerOf(name).calibrates);
}

function optionsFor(options: JobOptions, recipe: RecipeChoice): JobOptions {
  const { gpuBudgetBytes, hostBudgetBytes, keepSource, part, states, share } = options;
  return {
    recipe,
    calibration: needsCalibration(readRecipe(recipe)) ? options.calibration : null,
    gpuBudgetBytes,
    ...(hostBudgetBytes !== undefined && { hostBudgetBytes }),
    keepSource,
    ...(part && { part }),
    ...(states && { states }),
    ...(share && { share }),
  };
}

/** @throws RecipeError if one of them changes weights before statistics are collected, in a way that others do not */
function checkTogether(recipes: readonly Recipe[]): void {
  const rewriter = recipes.flatMap(rewritingModifiers)[0];
  if (rewriter)
    throw new RecipeError(
      `${rewriter.name} changes a layer before its statistics are collected, so that they fit no other recipe. Make its result in a job of its own.`,
    );
  if (recipes.some((recipe) => quantizingModifiers(recipe).some((modifier) => driftShare(modifier) > 0)))
    throw new RecipeError(
      "GPTQModifier's drift makes up for a result's own errors in earlier layers, and hidden states follow one recipe here. Make its result in a job of its own.",
    );
  const rotations = new Set(recipes.map(({ rotation }) => JSON.stringify(rotation ?? null)));
  if (rotations.size > 1)
    throw new RecipeError(
      "Some of the recipes rotate the model and some do not, or not alike: their statistics are of different models. Make those that differ in jobs of their own.",
    );
}

/** The leading plan with what the others need beside it. */
function joined(
  model: OpenModel,
  alone: CompressionPlan,
  results: readonly PlannedResult[],
  { options, adapter }: { readonly options: JobOptions; readonly adapter: AdapterSummary },
): RunPlan {
  const plans = results.map(({ plan }) => plan);
  checkSteps([alone, ...plans]);
  const others = plans.filter(({ jobId }) => jobId !== alone.jobId);
  const budgetBytes = options.gpuBudgetBytes;
  const tasks = [alone, ...others].flatMap(({ steps }) => steps.flatMap((step) => step.quantize));
  const tiling = planTiling(tasks, budgetBytes);
  const lead = { ...alone, tiling, others: others.map(({ jobId }) => jobId), peakGpuBytes: tiling.peakBytes };
  if (!alone.calibration) return { lead, results, notes: [] };
  const { set, options: calibrationOptions, plan } = alone.calibration;
  const hasMatrixUnits = adapter.matrices !== null;
  const calibration = planCalibrationJob(
    model,
    {
      steps: alone.steps,
      cache: kvCacheScheme(alone.recipe),
      beside: others.map(({ steps, recipe }) => ({ steps, cache: kvCacheScheme(recipe) })),
      like: plan.shape,
    },
    set,
    calibrationOptions,
    {
      budgetBytes,
      maxBufferBytes: adapter.maxBindingBytes,
      hasMatrixUnits,
      ...hostLimit(options),
    },
  );
  const own = plans.map((each) => each.calibration);
  return {
    lead: {
      ...lead,
      calibration,
      steps: alone.steps.map((step) => calibratedStep(step, calibration)),
      peakGpuBytes: Math.max(tiling.peakBytes, calibration.peakBytes),
    },
    results,
    notes: [...batchNotes(calibration, own, hasMatrixUnits), ...strassenNotes(calibration.plan, plans)],
  };
}

/** @throws RecipeError if the recipes do not cut the model into the same tensors */
function checkSteps(plans: readonly CompressionPlan[]): void {
  const cut = ({ steps }: CompressionPlan) =>
    JSON.stringify(
      steps.map(({ name, quantize, copy }) => [
        name,
        [...copy.map((tensor) => tensor.name), ...quantize.map(({ tensor }) => tensor.name)].toSorted(),
      ]),
    );
  if (new Set(plans.map(cut)).size > 1)
    throw new RecipeError(
      "Some of the recipes take the experts of this model apart and some leave them in one tensor: they do not read the same tensors. Make those that differ in jobs of their own.",
    );
}

/** Strassen's products round otherwise than plain ones. */
function strassenNotes(
  { strassen }: { readonly strassen: { readonly stays: boolean } | null },
  plans: readonly CompressionPlan[],
): string[] {
  const differs = plans.some(
    ({ calibration }) => calibration && calibration.plan.strassen?.stays !== strassen?.stays,
  );
  if (!differs) return [];
  return [
    "Within this GPU budget there is less room for Strassen's products, which one of the recipes would have alone: its result may differ from that in the last bits. A larger budget gives the same bytes.",
  ];
}
