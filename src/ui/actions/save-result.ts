import { batch } from "@preact/signals";
import { isAbort } from "../../errors.ts";
import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";

export type SaveWay = "folder" | "files" | "zip";

/** Saves the shown result to the user's disk. Dismissing the browser's picker is an answer, not a failure. */
export async function saveResult(app: App, way: SaveWay): Promise<void> {
  const { state, services } = app;
  const result = state.result.peek();
  if (!result || state.saving.peek()) return;
  const totalBytes = result.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const target = { jobId: result.jobId, name: result.name, files: result.files };
  const onBytes = services.platform.newestPerFrame((savedBytes: number) => {
    if (state.saving.peek()) state.saving.value = { what: "Saving", savedBytes, totalBytes };
  });
  batch(() => {
    state.saving.value = { what: "Saving", savedBytes: 0, totalBytes };
    state.saved.value = null;
    state.failure.value = null;
  });
  try {
    state.saved.value = await save();
  } catch (error) {
    const retry = async () => await saveResult(app, way);
    if (!isAbort(error)) state.failure.value = { ...describeFailure(error, "saving"), retry };
  } finally {
    state.saving.value = null;
  }

  async function save(): Promise<string> {
    if (way === "folder") return await services.download.saveFolder(target, onBytes);
    if (way === "zip") return await services.download.saveZip(target, onBytes);
    return await services.download.saveFiles(target);
  }
}
