import { RECEIPT } from "../../formats/files/result-documents.ts";
import { batch } from "@preact/signals";
import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";

/**
 * Has receipt.json written into the shown result, where every way of saving takes it along.
 * @param known SHA-256 of files that are hashed already, by path
 */
export async function makeReceipt(app: App, known: Readonly<Record<string, string>> = {}): Promise<void> {
  const { state, services } = app;
  const result = state.result.peek();
  if (!result || state.saving.peek()) return;
  const totalBytes = result.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const onBytes = services.platform.newestPerFrame((savedBytes: number) => {
    if (state.saving.peek()) state.saving.value = { what: "Hashing", savedBytes, totalBytes };
  });
  batch(() => {
    state.saving.value = { what: "Hashing", savedBytes: 0, totalBytes };
    state.saved.value = null;
    state.failure.value = null;
  });
  try {
    const withReceipt = await services.compressor.makeReceipt(result.jobId, onBytes, known);
    if (state.result.peek() === result) state.result.value = withReceipt;
    state.saved.value = `${RECEIPT} is among the files now: what the result was made of, and the hashes of what was made.`;
  } catch (error) {
    const retry = async () => await makeReceipt(app, known);
    state.failure.value = { ...describeFailure(error, "saving"), retry };
  } finally {
    state.saving.value = null;
  }
}
