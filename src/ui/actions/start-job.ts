import { batch } from "@preact/signals";
import { isAbort } from "../../errors.ts";
import type { Progress } from "../../api/compressor-api.ts";
import type { App } from "../state/app-state.ts";
import { collectReports } from "./collect-reports.ts";
import { describeFailure } from "../state/describe-failure.ts";
import { refreshStored } from "./stored-things.ts";

/** Runs the planned job, or goes on with it if some of its layers are finished; resolves when it has ended, however. */
export async function startJob(app: App): Promise<void> {
  const { state, services } = app;
  const options = state.options.peek();
  if (!options || state.running.peek()) return;
  batch(() => {
    state.running.value = true;
    state.progress.value = null;
    state.modules.value = [];
    state.failure.value = null;
    state.notice.value = null;
    state.saved.value = null;
  });
  const held = services.platform.holdForJob();
  // Only a click may ask, so it is asked before anything is awaited; a refusal changes nothing for the job.
  void services.platform.persist().catch(() => undefined);
  try {
    const onProgress = services.platform.newestPerFrame((progress: Progress) => {
      if (!state.running.peek()) return;
      state.progress.value = progress;
      void collectReports(app, progress.reportedModules);
    });
    const results = await services.compressor.start(options, onProgress);
    batch(() => {
      state.results.value = results;
      state.result.value = results[0] ?? null;
    });
  } catch (error) {
    if (isAbort(error))
      state.notice.value = "Stopped. Finished layers are kept; starting again goes on from there.";
    else
      state.failure.value = { ...describeFailure(error, "running"), retry: async () => await startJob(app) };
  } finally {
    held[Symbol.dispose]();
    state.running.value = false;
  }
  await refreshStored(app);
}
