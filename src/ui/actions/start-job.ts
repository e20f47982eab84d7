import { batch } from "@preact/signals";
import type { App } from "../state/app-state.ts";
import { runOnGpu } from "./run-on-gpu.ts";
import { refreshStored } from "./stored-things.ts";

/** Runs the planned job, or goes on with it if some of its layers are finished; resolves when it has ended, however. */
export async function startJob(app: App): Promise<void> {
  const { state, services } = app;
  const options = state.options.peek();
  if (!options || state.running.peek()) return;
  await runOnGpu(app, {
    async run(onProgress) {
      const results = await services.compressor.start(options, onProgress);
      batch(() => {
        state.results.value = results;
        state.result.value = results[0] ?? null;
      });
    },
    retry: async () => await startJob(app),
    stopped: "Stopped. Finished layers are kept; starting again goes on from there.",
  });
  await refreshStored(app);
}
