import { batch } from "@preact/signals";
import { formatBytes } from "../formats/format-bytes.ts";
import type { JobOptions } from "../pipeline/api.ts";
import type { AppState } from "./app-state.ts";
import { restoreRecipe } from "./recipe-fields.ts";

/** Sets the controls to an earlier job's options, so that the page shows what will run. */
export function restoreOptions(state: AppState, options: JobOptions): void {
  batch(() => {
    restoreRecipe(state.recipe, options.recipe);
    state.budget.value = formatBytes(options.gpuBudgetBytes);
    state.keepSource.value = options.keepSource;
  });
}
