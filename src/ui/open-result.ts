import type { App } from "./app-state.ts";
import { describeFailure } from "./describe-failure.ts";

/** Shows the result of a job that an earlier visit finished. */
export async function openResult(app: App, jobId: string): Promise<void> {
  const { state, services } = app;
  state.failure.value = null;
  try {
    state.result.value = await services.compressor.result(jobId);
  } catch (error) {
    const retry = async () => await openResult(app, jobId);
    state.failure.value = { ...describeFailure(error, "reading what is stored"), retry };
  }
}
