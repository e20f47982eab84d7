import { batch } from "@preact/signals";
import type { JobOptions } from "../../api/job-options.ts";
import type { App } from "../state/app-state.ts";
import { runOnGpu } from "./run-on-gpu.ts";

/** Measures what the recipes of these options would lose of each module, so that a scheme can be chosen for each. */
export async function measureSchemes(app: App, options: JobOptions): Promise<void> {
  const { state, services } = app;
  if (state.running.peek()) return;
  batch(() => {
    state.survey.value = null;
    state.mixed.value = null;
  });
  await runOnGpu(app, {
    async run(onProgress) {
      state.survey.value = await services.compressor.survey(options, onProgress);
    },
    retry: async () => await measureSchemes(app, options),
    stopped: "Stopped. Nothing was measured.",
  });
}
