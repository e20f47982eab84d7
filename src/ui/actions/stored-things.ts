import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";

/** Reads again what this browser keeps: jobs, downloaded sources, measurements, and whether it promised to keep them. */
export async function refreshStored({ state, services }: App): Promise<void> {
  try {
    const [jobs, sources, measurements, persisted] = await Promise.all([
      services.compressor.jobs(),
      services.source.stored(),
      services.measurements.list(),
      services.platform.persisted(),
    ]);
    state.stored.value = { jobs, sources, measurements, persisted };
  } catch (error) {
    showFailure({ state, error });
  }
}

/** Deletes with the function of whatever keeps it, then shows what is left. */
export async function deleteStored(app: App, remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    showFailure({ state: app.state, error });
  }
  await refreshStored(app);
}

function showFailure({ state, error }: { state: App["state"]; error: unknown }): void {
  state.failure.value = { ...describeFailure(error, "reading what is stored"), retry: null };
}

/** Asks the browser to keep what is stored, and shows what it answered. */
export async function persistStored(app: App): Promise<void> {
  await app.services.platform.persist();
  await refreshStored(app);
}
