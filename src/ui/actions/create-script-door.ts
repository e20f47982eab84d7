import { batch, effect } from "@preact/signals";
import { AccessError, invariant, RecipeError, StorageError } from "../../errors.ts";
import type { FitReport, ModelSummary } from "../../api/compressor-api.ts";
import type { SchemeSurvey } from "../../api/scheme-survey.ts";
import type { App, AppState, ShownFailure } from "../state/app-state.ts";
import { exactBytes } from "../state/fields/exact-bytes.ts";
import { fillInCalibration } from "./fill-in-calibration.ts";
import { inspectModel } from "./inspect-model.ts";
import { makeReceipt } from "./make-receipt.ts";
import { publish } from "./publish-result.ts";
import { measureSchemes } from "./measure-schemes.ts";
import { openResult } from "./open-result.ts";
import { type AskedRecipes, readRecipes, refuseCalibration } from "./read-request.ts";
import { restoreRecipe } from "../state/recipe/recipe-fields.ts";
import type { CompressOutcome, CompressRequest, ScriptDoor } from "../../api/script-api.ts";
import { startJob } from "./start-job.ts";

/** A worker that has not answered for so long is told of. */
const WORD_MS = 10_000;
const BUSY =
  "a worker of the page has not answered for 10 s: it waits for the disk, or the processor is slow";

/**
 * The page's door for scripts: it sets the same state as the controls, so that the page shows what it does.
 * @param broken rejects if a worker's script cannot be run: what it is asked it would never answer
 */
export function createScriptDoor(app: App, broken: Promise<never>): ScriptDoor {
  const { state, services } = app;
  const answered = async <T>(work: Promise<T>): Promise<T> => await Promise.race([work, broken]);
  return {
    ready: async () =>
      void (await answered(Promise.all([services.compressor.moduleReports(0), services.source.progress()]))),
    inspect: async (source, token) => await answered(inspect(app, source, token)),
    plan: async (request, file) => await answered(plan(app, request, { file: file ?? null, states: [] })),
    compress: async (request, file, states) =>
      await answered(compress(app, request, { file: file ?? null, states: states ?? [] })),
    survey: async (request, file) => await answered(survey(app, request, file ?? null)),
    mixedRecipe: async (bytes) => await services.compressor.mixedRecipe(bytes),
    progress: () => state.progress.peek(),
    waiting: async () => await waiting(app),
    kept: async () => await answered(kept(app)),
    show: async (jobId) => {
      await openResult(app, jobId);
      throwShown(state.failure.peek());
    },
    receipt: async (known) => {
      await makeReceipt(app, known);
      throwShown(state.failure.peek());
      return state.result.peek()?.files ?? [];
    },
    publish: async ({ hubUrl, ...wanted }) => await publish(app, hubUrl, wanted),
    publishing: () => state.publication.progress.peek(),
    save: async (path) => void (await services.download.saveFiles(resultFile(state, path))),
    sample: async (path, places) => await services.download.sampleFile(resultFile(state, path), places),
    send: async (path, address) => {
      await services.download.sendFiles(resultFile(state, path), () => address);
    },
  };
}

async function survey(app: App, request: CompressRequest, file: File | null): Promise<SchemeSurvey> {
  const { state } = app;
  await plan(app, request, { file, states: [] });
  const options = state.options.peek();
  invariant(options, "what is planned has options");
  await measureSchemes(app, options);
  throwShown(state.failure.peek());
  const measured = state.survey.peek();
  if (!measured) throw new DOMException(state.notice.peek() ?? "The measurement was stopped.", "AbortError");
  return measured;
}

/** What downloads wait for; or that a worker does, whose thread a disk can hold. */
async function waiting({ services: { compressor, source } }: App): Promise<string | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const busy = new Promise<string>((resolve) => (timer = setTimeout(resolve, WORD_MS, BUSY)));
  const told = Promise.all([source.progress(), compressor.moduleReports(Infinity)]);
  try {
    return await Promise.race([told.then(([progress]) => progress.waiting), busy]);
  } finally {
    clearTimeout(timer);
  }
}

async function kept({ services }: App) {
  const [jobs, sources] = await Promise.all([services.compressor.jobs(), services.source.stored()]);
  return {
    finishedSteps: jobs.reduce((sum, { finishedSteps }) => sum + finishedSteps, 0),
    downloadedBytes: sources.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** One file of the shown result, as what is saved. */
function resultFile(state: AppState, path: string) {
  const result = state.result.peek();
  const file = result?.files.find((candidate) => candidate.path === path);
  if (!result || !file) throw new AccessError(`There is no result that has a file ${path}.`);
  return { jobId: result.jobId, name: result.name, files: [file] };
}

async function inspect(app: App, source: string, token: string | null): Promise<ModelSummary> {
  const { state } = app;
  state.address.value = source;
  state.token.value = token ?? "";
  await inspectModel(app, { kind: "address", address: source.trim() });
  return inspected(state);
}

/** The model on the page, once what the page was given has been looked at. */
function inspected(state: AppState): ModelSummary {
  throwShown(state.failure.peek());
  const model = state.model.peek();
  if (!model) throw new AccessError("No model was inspected: name one, or give the page its files.");
  return model;
}

/** What cannot lie in a request. */
interface GivenFiles {
  readonly file: File | null;
  readonly states: readonly File[];
}

/** Brings the page to the plan that the request asks for. */
async function plan(app: App, request: CompressRequest, given: GivenFiles): Promise<FitReport> {
  const { state } = app;
  const recipes = readRecipes(request);
  if (request.source !== null) await inspect(app, request.source, request.token);
  await until(() => state.model.value !== null || state.failure.value !== null);
  inspected(state);
  await until(() => state.adapter.value !== null || state.adapterProblem.value !== null);
  fillIn(state, request, recipes, given);
  if (state.problem.peek() !== null) throw new RecipeError(state.problem.peek() ?? "");
  await until(() => !state.planning.value);
  throwShown(state.planFailure.peek());
  const fit = state.fit.peek();
  invariant(fit, "a plan without failure has a fit report");
  // Only the plan tells what a recipe in YAML needs.
  const all = [recipes.recipe, ...recipes.beside];
  if (all.some(({ kind }) => kind === "yaml") && fit.calibration === null)
    refuseCalibration(request.calibration);
  return fit;
}

async function compress(app: App, request: CompressRequest, given: GivenFiles): Promise<CompressOutcome> {
  const { state } = app;
  const fit = await plan(app, request, given);
  if (fit.verdict === "does-not-fit") throw new StorageError(fit.sentences.join(" "));
  await startJob(app);
  throwShown(state.failure.peek());
  const result = state.result.peek();
  if (!result) throw new DOMException(state.notice.peek() ?? "The job was stopped.", "AbortError");
  return { jobId: result.jobId, fit, result, results: state.results.peek() };
}

function fillIn(
  state: AppState,
  request: CompressRequest,
  { recipe, beside, along }: AskedRecipes,
  { file, states }: GivenFiles,
): void {
  batch(() => {
    restoreRecipe(state.recipe, recipe);
    state.beside.value = beside;
    state.along.value = along;
    if (state.calibrationUse.peek() !== "no") {
      fillInCalibration(state.calibration, request.calibration, file);
    }
    if (request.gpuBudgetBytes !== null) state.budget.value = exactBytes(request.gpuBudgetBytes);
    state.keepSource.value = request.keepSource;
    state.part.value = request.part ?? null;
    state.states.value = states;
    state.share.value = request.share ?? null;
  });
}

/** What the page shows as a failure, as the error that it was. */
function throwShown(failure: ShownFailure | null): void {
  if (failure) throw Object.assign(new Error(failure.message), { name: failure.name });
}

/** Resolves once signals are as they should be. */
async function until(holds: () => boolean): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = effect(() => {
      if (holds()) queueMicrotask(settle);
    });
    function settle(): void {
      stop();
      resolve();
    }
  });
}
