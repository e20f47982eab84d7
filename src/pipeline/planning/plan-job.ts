// An inspected model and the user's options to everything that a job does and needs, before it begins.

import { RecipeError } from "../../errors.ts";
import {
  type ConfigGroup,
  groupsOf,
  kvCacheScheme,
  needsCalibration,
  quantizesNothing,
  type Recipe,
} from "../../formats/recipe/recipe.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { schemeName } from "../../formats/schemes/scheme-name.ts";
import { type LinearClasses, linearClasses } from "../../model/linear-classes.ts";
import { recipeYaml } from "../../package/recipe-yaml.ts";
import { recipeFromControls } from "../../plan/recipe/choose-recipe.ts";
import { expertNotes, isExpert } from "../../plan/notes/expert-notes.ts";
import { isStacked } from "../../plan/checkpoint/split-experts.ts";
import { countedStorage, type Storage } from "../../plan/checkpoint/bits-per-weight.ts";
import { DEFAULT_IGNORE } from "../../formats/modifiers/default-ignore.ts";
import { idleIgnoreNote } from "../../plan/notes/idle-ignore-note.ts";
import { bfloat16Notes } from "../../plan/notes/bfloat16-note.ts";
import { orderedNotes } from "../../plan/notes/ordered-note.ts";
import { packedNotes } from "../../plan/notes/packed-note.ts";
import { completeRecipe } from "../../plan/recipe/complete-recipe.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import type { OutputPlan } from "../../formats/safetensors/shards.ts";
import { planOutput } from "../../plan/plan-output.ts";
import { listIgnored } from "../../plan/recipe/list-ignored.ts";
import { planSteps, type StepPlan } from "../../plan/plan-steps.ts";
import { servableRecipe, serverNotes } from "../../plan/notes/server-notes.ts";
import { elements } from "../../plan/checkpoint/summarize-model.ts";
import { type PlannedStep, streamedStep } from "./planned-step.ts";
import type { ServerNote } from "../../api/compressor-api.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { planTiling, type Tiling } from "../../quantize/rtn/plan-tiling.ts";
import type { JobOptions, RecipeChoice } from "../../api/job-options.ts";

/** More heads than any model has; keeps a number from outside from becoming an allocation. */
const MAX_HEADS = 4096;

export interface JobPlan {
  /** Digest of source and recipe: the same job is found again after a reload, whatever the GPU budget. */
  readonly jobId: string;
  readonly recipe: Recipe;
  /** The recipe's groups that quantize something. */
  readonly groups: readonly ConfigGroup[];
  /** With all in `ignore` that targets mean and defaults leave as it is. */
  readonly recipeYaml: string;
  /** What that adds to the recipe that was given, in a sentence; null if nothing. */
  readonly defaultsNote: string | null;
  /** What of the `ignore` of a recipe of controls means nothing in this model, in a sentence; null if nothing. */
  readonly ignoreNote: string | null;
  /** Of the groups that quantize something: "W4A16", "W4A16-G64"; "KV-FP8" of the cache alone; the dtype of plain weights. */
  readonly schemes: readonly string[];
  readonly steps: readonly PlannedStep[];
  readonly ignored: readonly string[];
  readonly output: OutputPlan;
  readonly tiling: Tiling;
  readonly sourceBytes: number;
  /** What bits per weight count of the result. */
  readonly counted: Storage;
  readonly quantizedModules: number;
  /** What servers would refuse of the result, and the recipe that avoids it, if there is one. */
  readonly serverNotes: readonly ServerNote[];
  readonly servableRecipe: string | null;
}

/**
 * Plans a job.
 * @throws RecipeError, or DeviceLimitError if the budget is too small for the smallest tiles.
 */
export async function planJob(model: OpenModel, options: JobOptions): Promise<JobPlan> {
  const recipe = readRecipe(options.recipe);
  if (quantizesNothing(recipe) && model.dequantized.size === 0) {
    throw new RecipeError(
      "UNQUANTIZED writes the weights of a quantized model as plain ones; this model is not quantized, so that nothing would change.",
    );
  }
  const classes = linearClasses(model.config.raw);
  const { steps, ignored } = planModel(model, recipe, classes);
  const tasks = steps.flatMap((step) => step.quantize);
  const used = new Set(tasks.map((task) => task.group));
  const groups = groupsOf(recipe).filter((group) => used.has(group));
  const output = planOutput({ steps });
  const notes = [
    ...serverNotes(tasks, ignored),
    ...expertNotes({ classes, groups, quantized: tasks, ignored }),
    ...packedNotes(model.config.raw, classes, tasks),
    ...orderedNotes(tasks),
    ...bfloat16Notes(tasks),
  ];
  const servable = servableRecipe(recipe, notes, tasks);
  const facts = {
    classes,
    recipe,
    ignored,
    quantized: tasks.map(({ module }) => module),
    stored: new Set(model.tensors.flatMap(({ name }) => /^(.*)\.weight$/.exec(name)?.[1] ?? [])),
    stacked: steps.some(({ copy }) => copy.some(isStacked)),
  };
  const complete = completeRecipe(facts);
  return {
    jobId: await digest([model.source.key, recipe, output.shards.map((shard) => shard.fileBytes)]),
    recipe,
    groups,
    recipeYaml: recipeYaml(complete.recipe),
    defaultsNote: complete.note,
    ignoreNote: ignoreNote(model, options.recipe, classes),
    schemes: namesOf(model, groups, recipe),
    steps: steps.map(streamedStep),
    ignored: listIgnored(facts),
    output,
    tiling: planTiling(tasks, options.gpuBudgetBytes),
    sourceBytes: model.tensors.reduce((sum, { start, end }) => sum + end - start, 0),
    counted: storageOf(steps, classes),
    quantizedModules: tasks.length,
    serverNotes: notes,
    servableRecipe: servable && recipeYaml(completeRecipe({ ...facts, recipe: servable }).recipe),
  };
}

/**
 * Experts are split into Linears only if some are quantized: loaders find plain ones as the files hold them. A job with a text
 * computes with single ones.
 */
function planModel(model: OpenModel, recipe: Recipe, classes: LinearClasses): StepPlan {
  const facts = { classes, kvHeads: kvHeadsOf(model) };
  const plan = planSteps(model.tensors, recipe, facts);
  const isSplit = model.tensors.length !== model.unsplit.length && model.rotation.rotated.size === 0;
  const someQuantized = plan.steps.some(({ quantize }) => quantize.some(({ module }) => isExpert(module)));
  if (!isSplit || someQuantized || !classes.experts || needsCalibration(recipe)) return plan;
  return planSteps(model.unsplit, recipe, facts);
}

/** A recipe in YAML is made for many models, and names what some of them have. */
function ignoreNote(
  { unsplit, tensors }: OpenModel,
  recipe: RecipeChoice,
  classes: LinearClasses,
): string | null {
  if (recipe.kind !== "controls" || recipe.ignore.every((name) => DEFAULT_IGNORE.includes(name))) return null;
  const stored = [...unsplit, ...tensors].map(({ name }) => name.replace(/\.(weight|bias)$/, ""));
  const modules = stored.flatMap((module) => [module, ...classes.loadedAs(module)]);
  return idleIgnoreNote(recipe.ignore, [...new Set([...modules, ...classes.heads, ...DEFAULT_IGNORE])]);
}

/** What bits per weight count of the result of these steps. */
function storageOf(steps: StepPlan["steps"], classes: LinearClasses): Storage {
  const quantized = steps.flatMap(({ quantize }) => quantize);
  const modules = quantized.map(({ module, tensor, outputs }) => ({
    module,
    bytes: outputs.reduce((sum, spec) => sum + tensorBytes(spec), 0),
    weights: elements(tensor),
  }));
  const copied = steps.flatMap(({ copy }) => copy);
  return countedStorage(modules, copied, classes);
}

function namesOf({ summary }: OpenModel, groups: readonly ConfigGroup[], recipe: Recipe): string[] {
  const cache = kvCacheScheme(recipe);
  if (groups.length > 0) return [...new Set(groups.map((group) => group.preset ?? schemeName(group.scheme)))];
  if (cache) return [`KV-${cache.type === "int" ? "INT" : "FP"}${cache.num_bits}`];
  return [summary.quantization?.dequantizedDtype ?? "BF16"];
}

/** Key-value heads by config.json, of a multimodal model those of its text model; null if it does not say. */
function kvHeadsOf({ config: { raw } }: OpenModel): number | null {
  const text = raw["text_config"];
  const own: Readonly<Record<string, unknown>> = typeof text === "object" && text ? { ...text } : raw;
  const heads = own["num_key_value_heads"] ?? own["num_attention_heads"];
  return Number.isSafeInteger(heads) && Number(heads) > 0 && Number(heads) <= MAX_HEADS
    ? Number(heads)
    : null;
}

/** The recipe that a choice means. Throws a RecipeError if it means none. */
export function readRecipe(choice: RecipeChoice): Recipe {
  return choice.kind === "controls" ? recipeFromControls(choice) : parseRecipe(choice.text);
}

/** A short name for a value: the first 16 hex digits of its SHA-256. */
export async function digest(value: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
