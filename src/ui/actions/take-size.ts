import { batch } from "@preact/signals";
import type { SurveyPoint } from "../../api/scheme-survey.ts";
import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";

/** Headers of files name other tensors for other schemes: so much is allowed beyond a point of the curve. */
const HEADER_BYTES = 64 * 1024;

/** Takes the recipe of a point of the curve, which then decides instead of the presets. */
export async function takeSize(app: App, { resultBytes }: SurveyPoint): Promise<void> {
  const { state, services } = app;
  const most = state.survey.peek()?.curve.at(-1)?.resultBytes ?? resultBytes;
  try {
    const mixed = await services.compressor.mixedRecipe(Math.min(resultBytes + HEADER_BYTES, most));
    batch(() => {
      state.mixed.value = mixed;
      state.recipe.yaml.value = mixed.yaml;
    });
  } catch (error) {
    const retry = async () => await takeSize(app, { resultBytes, bitsPerWeight: 0, loss: 0 });
    state.planFailure.value = { ...describeFailure(error, "planning"), retry };
  }
}
