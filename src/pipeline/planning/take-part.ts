// A planned job cut down to one of its parts. What a part writes is what the whole job would write of it: the plan of the
// whole job, its samples, batches and tiles stay as they are, and only steps are left out.

import type { JobOptions, JobPart } from "../../api/job-options.ts";
import { RecipeError } from "../../errors.ts";
import { choosesByText, rewritingModifiers } from "../../formats/recipe/recipe.ts";
import { decoderLayers } from "../../plan/checkpoint/decoder-layers.ts";
import { planOutput } from "../../plan/plan-output.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { digest } from "./plan-job.ts";
import { lastStep, passedStep, type PlannedStep } from "./planned-step.ts";
import { shareSamples } from "./share-samples.ts";
import { NO_OUTPUT, takeShare } from "./take-share.ts";

/**
 * The part of a planned job that is asked for; all of it if none is.
 * @throws RecipeError if the model has no such layers, or the recipe's layers depend on those before them in a way that the
 * part cannot know
 */
export async function takePart(
  plan: CompressionPlan,
  { part, share, ...given }: Pick<JobOptions, "part" | "states" | "share">,
): Promise<CompressionPlan> {
  if (share) return await takeShare(plan, share, part ?? null);
  if (!part) return plan;
  const states = given.states ?? [];
  const layers = decoderLayers(plan.steps);
  checkPart(plan, part, layers, states);
  const samples = part.kind === "states" ? part.share : undefined;
  const shared = samples && plan.calibration ? shareSamples(plan.calibration, samples) : null;
  const taken = partSteps(plan, { part, hasStates: states.length > 0 }, shared?.portion ?? 1);
  const steps = taken.map((step, index): PlannedStep => ({ ...step, index }));
  // A range that goes on from given states has others behind each of its steps than one that makes its own.
  const makesOwn = part.kind === "layers" && steps.some(({ calibrated }) => calibrated?.passed);
  return {
    ...plan,
    calibration: shared?.calibration ?? plan.calibration,
    jobId: await digest(makesOwn ? [plan.jobId, part, "own states"] : [plan.jobId, part]),
    steps,
    output: part.kind === "states" ? NO_OUTPUT : planOutput({ steps }, { stem: "part" }),
    sourceBytes: steps.reduce((sum, { bytes }) => sum + bytes, 0),
    part: {
      asked: part,
      states,
      firstToken: shared?.firstToken ?? 0,
      jobId: plan.jobId,
      steps: plan.steps.length,
      layers: layers.length,
      places: taken.map(({ index }) => index),
    },
  };
}

/**
 * The steps that a part does: samples pass the layers in front of a range that begins without states, and come to the head behind the last
 * layer.
 */
function partSteps(
  { steps, calibration }: CompressionPlan,
  { part, hasStates }: { readonly part: JobPart; readonly hasStates: boolean },
  portion: number,
): readonly PlannedStep[] {
  const layers = decoderLayers(steps);
  const among = (first: number, end: number) => {
    const names = new Set(layers.slice(first, end));
    return steps.filter(({ name }) => names.has(name));
  };
  const behind = steps.filter(({ name, calibrated }) => calibrated && !layers.includes(name));
  if (part.kind === "rest")
    return steps.filter((step) => !layers.includes(step.name) && !behind.includes(step));
  if (part.kind === "states") return among(0, Math.max(...part.at)).map((step) => passedStep(step, portion));
  const before = calibration && !hasStates ? among(0, part.first) : [];
  const own = [...among(part.first, part.last + 1), ...(part.last === layers.length - 1 ? behind : [])];
  const last = own.findLast(({ calibrated }) => calibrated);
  return [
    ...before.map((step) => passedStep(step)),
    ...own.map((step) => (step === last ? lastStep(step) : step)),
  ];
}

function checkPart(
  plan: CompressionPlan,
  part: JobPart,
  layers: readonly string[],
  states: readonly File[],
): void {
  if (layers.length === 0)
    throw new RecipeError(
      "This model has no numbered layers that it could be cut between. Compress it as a whole.",
    );
  if (part.kind === "layers") checkRange(plan, part, layers.length, states);
  if (part.kind === "states") checkStates(plan, part, layers.length);
}

type Of<Kind extends JobPart["kind"]> = Extract<JobPart, { readonly kind: Kind }>;

function checkRange(
  plan: CompressionPlan,
  { first, last, forwardProducts }: Of<"layers">,
  layers: number,
  states: readonly File[],
): void {
  if (first > last || last >= layers)
    throw new RecipeError(
      `The model has the layers 0 to ${layers - 1}; ${first}..${last} is no range of them.`,
    );
  if (!plan.calibration && (states.length > 0 || forwardProducts !== undefined))
    throw new RecipeError(
      "The recipe needs no calibration: hidden states would change nothing. Leave them out.",
    );
  if (plan.calibration && (first > 0 || last < layers - 1)) checkIndependent(plan);
}

function checkStates(plan: CompressionPlan, { at }: Of<"states">, layers: number): void {
  if (!plan.calibration)
    throw new RecipeError("The recipe needs no calibration: its parts begin without hidden states.");
  checkIndependent(plan);
  const wrong = at.find((layer) => layer < 1 || layer >= layers);
  if (at.length === 0 || wrong !== undefined)
    throw new RecipeError(
      `Hidden states are kept in front of layers 1 to ${layers - 1}, not ${wrong ?? "of none"}.`,
    );
}

/** What comes out of a layer must not depend on what the recipe makes of it. */
function checkIndependent(plan: CompressionPlan): void {
  const problem = dependence(plan);
  if (problem !== null) throw new RecipeError(problem);
}

/** Why the layers of a job cannot be done apart; null if they can. */
export function dependence({ calibration, recipe }: CompressionPlan): string | null {
  if (!calibration) return null;
  if (rewritingModifiers(recipe).length > 0)
    return "This recipe moves factors between the tensors of a layer, which rounds what the next one sees: its layers cannot be done apart. Compress the whole model in one job.";
  const chosen = calibration.layers.some(({ tasks }) =>
    tasks.some(({ modifier }) => choosesByText(modifier)),
  );
  if (!chosen || !calibration.options.propagate_error) return null;
  return "Later layers are to see the error of earlier ones, so that layers cannot be done apart. Add --no-propagate-error, which calibrates each on the original model, share the samples with --share, or compress the whole model in one job.";
}
