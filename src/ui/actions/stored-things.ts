import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";

/**
 * Reads again what this browser keeps: jobs, downloaded sources, measurements, and whether it promised to keep them. A store that
 * cannot be read keeps nothing from being shown of the others.
 */
export async function refreshStored({ state, services }: App): Promise<void> {
  const read = async <Found>(asked: Promise<Found>, without: Found): Promise<Found> => {
    try {
      return await asked;
    } catch (error) {
      // What failed before, such as a job, says more, and can be tried again.
      if (state.failure.peek() === null) showFailure({ state, error });
      return without;
    }
  };
  const [jobs, sources, measurements, persisted] = await Promise.all([
    read(services.compressor.jobs(), []),
    read(services.source.stored(), []),
    read(services.measurements.list(), []),
    read(services.platform.persisted(), false),
  ]);
  state.stored.value = { jobs, sources, measurements, persisted };
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
  try {
    await app.services.platform.persist();
  } catch (error) {
    showFailure({ state: app.state, error });
  }
  await refreshStored(app);
}
