import type { App } from "../state/app-state.ts";
import { runOnGpu } from "./run-on-gpu.ts";

/** Measures what the planned recipes would lose of each module, so that a scheme can be chosen for each. */
export async function measureSchemes(app: App): Promise<void> {
  const { state, services } = app;
  const options = state.options.peek();
  if (!options || state.running.peek()) return;
  state.survey.value = null;
  await runOnGpu(app, {
    async run(onProgress) {
      state.survey.value = await services.compressor.survey(options, onProgress);
    },
    retry: async () => await measureSchemes(app),
    stopped: "Stopped. Nothing was measured.",
  });
}
