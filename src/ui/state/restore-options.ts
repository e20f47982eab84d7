import { batch } from "@preact/signals";
import type { AppState } from "./app-state.ts";
import { restoreCalibration } from "./fields/calibration-fields.ts";
import { exactBytes } from "./fields/exact-bytes.ts";
import { restoreRecipe } from "./recipe/recipe-fields.ts";
import type { JobOptions } from "../../api/job-options.ts";

/** Sets the controls to an earlier job's options, so that the page shows what will run. */
export function restoreOptions(state: AppState, options: JobOptions): void {
  batch(() => {
    restoreRecipe(state.recipe, options.recipe);
    state.beside.value = options.beside ?? [];
    state.along.value = options.along ?? null;
    if (options.calibration) restoreCalibration(state.calibration, options.calibration);
    state.budget.value = exactBytes(options.gpuBudgetBytes);
    state.keepSource.value = options.keepSource;
  });
}
