import { batch } from "@preact/signals";
import { isAbort } from "../../errors.ts";
import type { Progress } from "../../api/compressor-api.ts";
import type { App } from "../state/app-state.ts";
import { collectReports } from "./collect-reports.ts";
import { describeFailure } from "../state/describe-failure.ts";

/** What takes the GPU for long. */
export interface LongRun {
  readonly run: (onProgress: (progress: Progress) => void) => Promise<void>;
  readonly retry: () => Promise<void>;
  /** What is said where the user stopped it. */
  readonly stopped: string;
}

/** Shows a long run, keeps the machine awake for it, and shows how it failed; resolves when it has ended, however. */
export async function runOnGpu(app: App, { run, retry, stopped }: LongRun): Promise<void> {
  const { state, services } = app;
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
    await run(
      services.platform.newestPerFrame((progress: Progress) => {
        if (!state.running.peek()) return;
        state.progress.value = progress;
        void collectReports(app, progress.reportedModules);
      }),
    );
  } catch (error) {
    if (isAbort(error)) state.notice.value = stopped;
    else state.failure.value = { ...describeFailure(error, "running"), retry };
  } finally {
    held[Symbol.dispose]();
    state.running.value = false;
  }
}
