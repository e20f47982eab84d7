import { batch } from "@preact/signals";
import type { StoredJob } from "../../api/compressor-api.ts";
import type { App, AppState } from "../state/app-state.ts";
import { suggestCalibration } from "../state/fields/calibration-fields.ts";
import { restoreRecipe } from "../state/recipe/recipe-fields.ts";
import { fillInCalibration } from "./fill-in-calibration.ts";
import { describeFailure } from "../state/describe-failure.ts";
import { restoreOptions } from "../state/restore-options.ts";
import { startJob } from "./start-job.ts";
import { suggestRecipe } from "../state/recipe/suggest-recipe.ts";
import type { SourceReference } from "../../api/source-api.ts";
import { resetTrial } from "../state/fields/trial-fields.ts";

/**
 * Reads config and headers of what the user pointed at; the page is then in its plan state. False if that failed, or if
 * the user pointed at something else meanwhile.
 */
export async function inspectModel(app: App, reference: SourceReference): Promise<boolean> {
  const { state, services } = app;
  const inspection = { name: nameOfReference(reference) };
  const current = () => state.inspecting.peek() === inspection;
  batch(() => {
    state.inspecting.value = inspection;
    state.failure.value = null;
    state.notice.value = null;
  });
  try {
    const model = await services.compressor.inspect(reference, state.token.peek().trim() || null);
    if (!current()) return false;
    batch(() => {
      suggestCalibration(state.calibration, model);
      suggestRecipe(state.recipe, model);
      state.beside.value = [];
      state.along.value = null;
      fillInLinked(state, reference);
      state.model.value = model;
      state.reference.value = reference;
      resetTrial(state.trial, model.quantization ? null : reference);
      if (model.quantization) state.trial.subject.value = reference;
      state.fit.value = null;
      state.presets.value = [];
      state.planFailure.value = null;
      state.result.value = null;
      state.survey.value = null;
      state.mixed.value = null;
    });
    return true;
  } catch (error) {
    if (!current()) return false;
    const retry = async () => {
      await inspectModel(app, reference);
    };
    state.failure.value = { ...describeFailure(error, "inspecting"), retry };
    // What cannot be compressed may be a result that can be tried.
    resetTrial(state.trial, null);
    if (state.failure.value.name === "UnsupportedModelError") state.trial.subject.value = reference;
    return false;
  } finally {
    if (current()) state.inspecting.value = null;
  }
}

/** What a link asked for goes before what is suggested for its model; afterwards the controls are the user's. */
function fillInLinked(state: AppState, reference: SourceReference): void {
  const linked = state.linked.peek();
  const address = reference.kind === "address" ? reference.address : null;
  if (!linked || (linked.model !== null && linked.model !== address)) return;
  restoreRecipe(state.recipe, linked.recipe);
  if (state.calibrationUse.peek() !== "no") fillInCalibration(state.calibration, linked.calibration, null);
  state.linked.value = null;
}

/** Inspects what stands in the address field, and restores the options of the job that waited for it, if there is one. */
export async function inspectAddress(app: App): Promise<void> {
  const address = app.state.address.peek().trim();
  if (address !== "") await inspectAwaited(app, { kind: "address", address });
}

/** Inspects dropped files, and restores the options of the job that waited for them, if there is one. */
export async function inspectFiles(app: App, reference: SourceReference): Promise<void> {
  await inspectAwaited(app, reference);
}

async function inspectAwaited(app: App, reference: SourceReference): Promise<void> {
  const waiting = app.state.awaitingSource.peek();
  if (!(await inspectModel(app, reference))) return;
  app.state.awaitingSource.value = null;
  const isMeant = waiting && (waiting.address === null) === (reference.kind === "files");
  if (isMeant) restoreOptions(app.state, waiting.options);
}

/** Goes on with an unfinished job: finds its model again and starts with the same options. */
export async function goOn(app: App, job: StoredJob): Promise<void> {
  const { state } = app;
  if (job.address === null) {
    state.awaitingSource.value = job;
    return;
  }
  state.address.value = job.address;
  if (!(await inspectModel(app, { kind: "address", address: job.address }))) {
    if (job.addressShortened) state.awaitingSource.value = job;
    return;
  }
  restoreOptions(state, job.options);
  await startJob(app);
}

/** Back to the first state; what is stored stays. */
export function chooseAnother({ state }: App): void {
  batch(() => {
    state.model.value = null;
    state.result.value = null;
    state.fit.value = null;
    state.presets.value = [];
    state.planFailure.value = null;
    state.failure.value = null;
    state.notice.value = null;
    state.saved.value = null;
    state.progress.value = null;
    state.modules.value = [];
  });
}

function nameOfReference(reference: SourceReference): string {
  if (reference.kind === "address") return reference.address;
  const [first] = reference.files;
  return reference.files.length === 1 && first ? first.path : `${reference.files.length} files`;
}
