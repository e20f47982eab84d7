// From finished shards to a folder that is trusted: packaged, opened again and compared, summed up.

import type { ResultSummary } from "../../api/compressor-api.ts";
import { openOutputFile } from "../../offload/job-folder.ts";
import type { Journal } from "../../offload/journal.ts";
import type { GpuFigures, Job } from "../job/job.ts";
import { recordedFolds, recordedForward, recordedMappings, recordResult } from "../job/job-journal.ts";
import { forwardNotes } from "../sequential/forward-products.ts";
import { expertNotes } from "./expert-notes.ts";
import { packageModel } from "./package-model.ts";
import { verifyResult } from "./verify-result.ts";

/**
 * Writes the small files, verifies the folder and records the result.
 * @throws VerificationError if what was written is not what was planned.
 */
export async function finishResult(
  job: Job,
  journal: Journal,
  output: FileSystemDirectoryHandle,
  figures: GpuFigures,
): Promise<ResultSummary> {
  job.progress.tell({ phase: "packaging" });
  const packaged = await packageModel(job, output, {
    figures,
    forwardProducts: recordedForward(journal),
    mappings: recordedMappings(journal),
  });
  job.progress.tell({ phase: "verifying" });
  if (job.plan.output.shards.length > 0) await verifyFolder(job, journal, output);
  const notes = [
    ...packaged.notes,
    ...forwardNotes(journal),
    ...expertNotes(packaged.modules, job.options.calibration),
  ];
  const result = { ...packaged, notes, seconds: job.progress.seconds() };
  recordResult(journal, result);
  return result;
}

/** Opens what was written once more and compares it with the plan and the source. */
async function verifyFolder(
  { plan, source, control }: Job,
  journal: Journal,
  output: FileSystemDirectoryHandle,
): Promise<void> {
  const open = async (path: string) => await openOutputFile(output, path);
  await verifyResult({
    plan,
    readResult: async ({ path, start, end }) =>
      new Uint8Array(await (await open(path)).slice(start, end).arrayBuffer()),
    resultBytes: async (path) => (await open(path)).size,
    folds: recordedFolds(journal),
    readSource: async (range) => await source.readRange(range),
    checkpoint: async () => await control.checkpoint(),
  });
}
