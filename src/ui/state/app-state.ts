// Everything that the page knows, as signals. Which of the four states it shows is derived and never set, so that no
// combination can contradict itself. What changes the state stands beside this file, one verb a file.

import { computed, signal } from "@preact/signals";
import { formatBytes, parseBytes } from "../../formats/text/format-bytes.ts";
import type { AdapterSummary } from "../../gpu/device/adapter-summary.ts";
import type {
  FitReport,
  ModelSummary,
  ModuleReport,
  PresetSize,
  Progress,
  ResultSummary,
  StoredJob,
} from "../../api/compressor-api.ts";
import {
  calibrationChoice,
  calibrationProblem,
  createCalibrationFields,
} from "./fields/calibration-fields.ts";
import type { Failure } from "./describe-failure.ts";
import { MIN_BUDGET_BYTES } from "./fields/gpu-budget.ts";
import type { MeasuredRecipe } from "./measurements/measurement-store.ts";
import {
  type CalibrationUse,
  calibrationUse,
  choiceUse,
  createRecipeFields,
  recipeChoice,
} from "./recipe/recipe-fields.ts";
import type { Services } from "./services.ts";
import { type Screen, titleText } from "./title-text.ts";
import type { MixedRecipe, SchemeSurvey } from "../../api/scheme-survey.ts";
import type { SourceReference, StoredSource } from "../../api/source-api.ts";
import type { JobOptions, JobPart, JobShare, RecipeChoice } from "../../api/job-options.ts";
import type { CalibrationRequest } from "../../api/script-api.ts";
import { createPublication } from "./fields/publication-fields.ts";
import { createTrial } from "./fields/trial-fields.ts";

export interface ShownFailure extends Failure {
  /** Does again what failed, or null where that makes no sense. */
  readonly retry: (() => Promise<void>) | null;
}

export interface StoredThings {
  readonly jobs: readonly StoredJob[];
  readonly sources: readonly StoredSource[];
  /** What was measured of recipes, the oldest first. */
  readonly measurements: readonly MeasuredRecipe[];
  /** True if the browser has promised not to delete them by itself. */
  readonly persisted: boolean;
}

/** A link's request, checked; `model` null is any. */
export interface LinkedRequest {
  readonly model: string | null;
  readonly recipe: RecipeChoice;
  readonly calibration: CalibrationRequest;
}

export interface Saving {
  readonly what: "Saving" | "Hashing";
  readonly savedBytes: number;
  readonly totalBytes: number;
}

function createInputs() {
  return {
    address: signal(""),
    token: signal(""),
    tokenShown: signal(false),
    recipe: createRecipeFields(),
    calibration: createCalibrationFields(),
    keepSource: signal(false),
    /** The GPU budget as typed: "2 GiB". */
    budget: signal("1 GiB"),
    storageShown: signal(false),
    /** Recipes whose results are made in the same run. */
    beside: signal<readonly RecipeChoice[]>([]),
    /** The one whose error later layers see; null for the first that chooses codes by a text. */
    along: signal<RecipeChoice | null>(null),
    /** The part of the model to do, which scripts ask for; null for all of it. */
    part: signal<JobPart | null>(null),
    /** Hidden states that the part begins with. */
    states: signal<readonly File[]>([]),
    /** What is done of a job that several pages do together, which scripts ask for; null for all of it. */
    share: signal<JobShare | null>(null),
  };
}

function createFindings() {
  return {
    adapter: signal<AdapterSummary | null>(null),
    /** Why there is no GPU to work with, or null. */
    adapterProblem: signal<string | null>(null),
    /** What is being inspected, named for people; null while nothing is. */
    inspecting: signal<{ readonly name: string } | null>(null),
    /** A job that waits for its dropped files, or for its whole address. */
    awaitingSource: signal<StoredJob | null>(null),
    model: signal<ModelSummary | null>(null),
    /** What the inspected model was named by. */
    reference: signal<SourceReference | null>(null),
    /** What a link asks for besides its model, until that is inspected. */
    linked: signal<LinkedRequest | null>(null),
    fit: signal<FitReport | null>(null),
    /** What each preset makes of the model, whether or not the chosen recipe fits. */
    presets: signal<readonly PresetSize[]>([]),
    planning: signal(false),
    planFailure: signal<ShownFailure | null>(null),
    /** Counts how often the same options were planned anew. */
    planRetries: signal(0),
    running: signal(false),
    progress: signal<Progress | null>(null),
    /** What the running job has told of its finished modules. */
    modules: signal<readonly ModuleReport[]>([]),
    result: signal<ResultSummary | null>(null),
    /** All that the last run made; the result that is shown may be none of them. */
    results: signal<readonly ResultSummary[]>([]),
    /** What each of several schemes would lose of the inspected model; null until it is measured. */
    survey: signal<SchemeSurvey | null>(null),
    /** The recipe that was chosen of it. */
    mixed: signal<MixedRecipe | null>(null),
    saving: signal<Saving | null>(null),
    /** Where the result went, in words. */
    saved: signal<string | null>(null),
    stored: signal<StoredThings | null>(null),
    failure: signal<ShownFailure | null>(null),
    /** A sentence that is no failure: "Stopped. Finished layers are kept." */
    notice: signal<string | null>(null),
    trial: createTrial(),
    publication: createPublication(),
    /** True if a newer build of the page lies ready. */
    updateReady: signal(false),
  };
}

/** What few jobs are asked with. */
function rareOptions({
  beside: { value: beside },
  along: { value: along },
  part: { value: part },
  states: { value: states },
  share: { value: share },
}: ReturnType<typeof createInputs>): Partial<JobOptions> {
  return {
    ...(beside.length > 0 && { beside }),
    ...(along && { along }),
    ...(part && { part }),
    ...(states.length > 0 && { states }),
    ...(share && { share }),
  };
}

export function createAppState() {
  const state = { ...createInputs(), ...createFindings() };
  const screen = computed((): Screen => {
    if (state.running.value) return "run";
    if (state.result.value) return "done";
    return state.model.value ? "plan" : "choose";
  });
  /** Null while the budget as typed is not an amount that anything fits into. */
  const budgetBytes = computed(() => {
    const bytes = parseBytes(state.budget.value);
    return bytes !== null && bytes >= MIN_BUDGET_BYTES ? bytes : null;
  });
  /** Whether any recipe of the run needs a text. */
  const runUse = computed((): CalibrationUse => {
    const uses = [calibrationUse(state.recipe), ...state.beside.value.map(choiceUse)];
    return uses.find((use) => use === "yes") ?? uses.find((use) => use === "if-needed") ?? "no";
  });
  /** Why the controls mean nothing yet, as a sentence that names the one to look at, or null. */
  const problem = computed((): string | null => {
    if (budgetBytes.value === null)
      return `The GPU budget under “Advanced” is not an amount such as 2 GiB, of ${formatBytes(MIN_BUDGET_BYTES)} at least.`;
    if (recipeChoice(state.recipe) === null)
      return "dampening_frac under “Advanced” is not a number from 0 to 1.";
    return runUse.value === "yes" ? calibrationProblem(state.calibration) : null;
  });
  /** What the controls mean; null while one of them cannot be read. */
  const options = computed((): JobOptions | null => {
    const recipe = recipeChoice(state.recipe);
    const calibrated = runUse.value !== "no";
    const calibration = calibrated ? calibrationChoice(state.calibration) : null;
    const keepSource = state.keepSource.value;
    const gpuBudgetBytes = budgetBytes.value;
    if (problem.value !== null || recipe === null || gpuBudgetBytes === null) return null;
    return { recipe, calibration, gpuBudgetBytes, keepSource, ...rareOptions(state) };
  });
  const title = computed(() =>
    titleText({
      screen: screen.value,
      modelName: state.result.value?.name ?? state.model.value?.source.name ?? null,
      progress: state.progress.value,
      failed: state.failure.value !== null,
    }),
  );
  return { ...state, screen, budgetBytes, calibrationUse: runUse, problem, options, title };
}

export type AppState = ReturnType<typeof createAppState>;

/** State and services, as everything that changes the state takes them. */
export interface App {
  readonly state: AppState;
  readonly services: Services;
  /** Address of the page, for what it asks for and to name the host of relative addresses. */
  readonly pageUrl: string;
}
