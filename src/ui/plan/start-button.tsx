import { useApp } from "../parts/app-context.ts";
import type { AppState } from "../state/app-state.ts";
import { startJob } from "../actions/start-job.ts";

/** The button that starts the job, and what is to be known before; or why it cannot start. */
export function StartButton() {
  const app = useApp();
  const { state } = app;
  const obstacle = startObstacle(app.state);
  const unfit = state.fit.value?.verdict === "does-not-fit";
  return (
    <div class="start">
      <button
        type="button"
        class={unfit ? "wide" : "primary wide"}
        disabled={obstacle !== null}
        aria-describedby="start-hint"
        onClick={() => void startJob(app)}
      >
        {unfit ? "Start anyway" : "Start"}
      </button>
      {unfit && (
        <button type="button" class="link" onClick={() => (state.storageShown.value = true)}>
          See what this browser keeps
        </button>
      )}
      <p id="start-hint" class="hint">
        {obstacle ??
          "Keep this tab open; it may be in the background. You can pause, and close it and go on later."}
      </p>
    </div>
  );
}

/** Why the job cannot start now, as a sentence, or null. */
function startObstacle({ adapterProblem, problem, planFailure, fit }: AppState): string | null {
  if (adapterProblem.value !== null) return "This needs a GPU, which this browser does not offer.";
  if (problem.value !== null) return problem.value;
  if (planFailure.value !== null) return "The recipe has to fit first.";
  return fit.value === null ? "The plan is being made." : null;
}
