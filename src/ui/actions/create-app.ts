import { effect } from "@preact/signals";
import { RecipeError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { type App, createAppState } from "../state/app-state.ts";
import { defaultBudget } from "../state/fields/gpu-budget.ts";
import { keepPlanned } from "./keep-planned.ts";
import { readLinkedJob } from "../state/links/linked-job.ts";
import { readLinkedModel } from "../state/fields/page-address.ts";
import { DEFAULT_SCHEME } from "../state/recipe/preset-cards.ts";
import { readRequest } from "./read-request.ts";
import { restoreRecipe } from "../state/recipe/recipe-fields.ts";
import type { Services } from "../state/services.ts";
import { returnFromHub } from "./sign-in.ts";
import { refreshStored } from "./stored-things.ts";
import { releaseEngines } from "./try-prompt.ts";

/**
 * The page's state, kept in step with itself: the fit report follows the controls. A link's request only fills in the
 * form; nothing is asked of any host before a click.
 */
export function createApp(services: Services, pageUrl: string): App {
  const app: App = { state: createAppState(), services, pageUrl };
  fillInRequest(app);
  keepPlanned(app);
  releaseEngines(app);
  return app;
}

/** Looks for a GPU and for what earlier visits left behind. */
export async function wakeApp(app: App): Promise<void> {
  await Promise.all([probeAdapter(app), refreshStored(app).then(async () => await returnFromHub(app))]);
}

/** Keeps something outside, such as the tab's title, equal to the state's title. */
export function followTitle({ state }: App, apply: (title: string) => void): () => void {
  return effect(() => apply(state.title.value));
}

function fillInRequest({ state, pageUrl }: App): void {
  const { search } = new URL(pageUrl);
  const model = readLinkedModel(search);
  if (model !== null) state.address.value = model;
  try {
    const job = readLinkedJob(search);
    if (!job) return;
    const recipe = readRequest(job);
    restoreRecipe(state.recipe, recipe);
    state.linked.value = { model, recipe, calibration: job.calibration };
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    state.notice.value = `The link cannot be followed entirely. ${error.message} ${DEFAULT_SCHEME} is chosen for now.`;
  }
}

async function probeAdapter({ state, services }: App): Promise<void> {
  try {
    const adapter = await services.compressor.probe();
    state.adapter.value = adapter;
    state.budget.value = formatBytes(defaultBudget(adapter.maxBufferBytes));
  } catch (error) {
    state.adapterProblem.value = error instanceof Error ? error.message : String(error);
  }
}
