import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";
import { resetTrial } from "../state/fields/trial-fields.ts";

/** Shows the result of a job that an earlier visit finished. */
export async function openResult(app: App, jobId: string): Promise<void> {
  const { state, services } = app;
  state.failure.value = null;
  try {
    const result = await services.compressor.result(jobId);
    const stored = state.stored.peek();
    const address = stored?.jobs.find((job) => job.jobId === jobId)?.address ?? null;
    const measured = stored?.measurements.findLast((each) => each.jobId === jobId) ?? null;
    resetTrial(state.trial, address === null ? null : { kind: "address", address }, measured);
    state.result.value = result;
  } catch (error) {
    const retry = async () => await openResult(app, jobId);
    state.failure.value = { ...describeFailure(error, "reading what is stored"), retry };
  }
}
