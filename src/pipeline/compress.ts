// READ FIRST. The whole path on one page: a planned model goes through the GPU a layer at a time and becomes a folder.
//
//   source ranges -> onload -> (calibrate) -> quantize -> (propagate) -> offload (OPFS, journal) -> next layer … -> package
//
// A step that the journal knows is not done again, so the loop is also the resume. If the GPU is lost, a new device
// goes on from the last finished layer.

import { DeviceLostError } from "../errors.ts";
import { openJobFolder, openOutputFolder } from "../offload/job-folder.ts";
import { Journal } from "../offload/journal.ts";
import { OutputStore } from "../offload/output-store.ts";
import type { PlanStep } from "../plan/plan-steps.ts";
import type { ResultSummary } from "../api/compressor-api.ts";
import { expertNotes } from "./result/expert-notes.ts";
import { forwardNotes } from "./sequential/forward-products.ts";
import {
  beginJournal,
  finishedResult,
  isFinished,
  recordedForward,
  recordedModules,
  recordResult,
} from "./job/job-journal.ts";
import { packageModel } from "./result/package-model.ts";
import type { CompressionPlan } from "./planning/plan-compression.ts";
import { withPresentSizes } from "./result/record-quality.ts";
import { runDataFree } from "./data-free/run-data-free.ts";
import { writeSequences } from "./calibration/stored-sequences.ts";
import { runSequential } from "./sequential/run-sequential.ts";
import { verifyResult } from "./result/verify-result.ts";
import { type Job, createFigures } from "./job/job.ts";

/** Attempts that a lost GPU gets without finishing a step in between; then the user is asked. */
const MAX_FRUITLESS_ATTEMPTS = 3;

/** Runs a job, or goes on with it, until its result lies in OPFS. */
export async function compress(job: Job): Promise<ResultSummary> {
  const folder = await openJobFolder(job.plan.jobId);
  using journal = await Journal.open(folder);
  const finished = finishedResult(journal);
  if (finished) return await withPresentSizes(finished);
  if (job.plan.calibration && journal.records.length === 0)
    await writeSequences(folder, job.plan.calibration.set);
  beginJournal(journal, job);
  skipFinished(job, journal);
  const output = await openOutputFolder(folder);
  const figures = createFigures();
  {
    using store = await OutputStore.open(output, job.plan.output.shards);
    for (const { calibrated, steps } of runsOf(job.plan)) {
      const run = calibrated ? runSequential : runDataFree;
      await survivingLoss(
        job,
        journal,
        async () => await run(job, steps, { folder, store, journal, figures }),
      );
    }
  }
  job.progress.tell({ phase: "packaging" });
  const packaged = await packageModel(job, output, { figures, forwardProducts: recordedForward(journal) });
  job.progress.tell({ phase: "verifying" });
  await verifyFolder(job, output);
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
  output: FileSystemDirectoryHandle,
): Promise<void> {
  const open = async (path: string) => await (await output.getFileHandle(path)).getFile();
  await verifyResult({
    plan,
    readResult: async ({ path, start, end }) =>
      new Uint8Array(await (await open(path)).slice(start, end).arrayBuffer()),
    resultBytes: async (path) => (await open(path)).size,
    readSource: async (range) => await source.readRange(range),
    checkpoint: async () => await control.checkpoint(),
  });
}

/** Counts what earlier runs finished. */
function skipFinished({ plan, progress }: Job, journal: Journal): void {
  for (const step of plan.steps.filter((candidate) => isFinished(journal, candidate))) {
    const ranges = plan.ranges[step.index] ?? [];
    progress.skipped(
      step.index,
      ranges.reduce((sum, { start, end }) => sum + end - start, 0),
    );
  }
  progress.addReports(recordedModules(journal));
}

/** Neighbouring steps of one kind: decoder layers that are calibrated, and everything else. */
function runsOf(plan: CompressionPlan): { calibrated: boolean; steps: PlanStep[] }[] {
  const runs: { calibrated: boolean; steps: PlanStep[] }[] = [];
  for (const step of plan.steps) {
    const calibrated = plan.calibration?.layerOf.has(step.index) ?? false;
    const last = runs.at(-1);
    if (last && last.calibrated === calibrated) last.steps.push(step);
    else runs.push({ calibrated, steps: [step] });
  }
  return runs;
}

/** Tries again with a new device when the GPU was lost, as long as steps get finished in between. */
async function survivingLoss(job: Job, journal: Journal, run: () => Promise<void>): Promise<void> {
  let fruitless = 0;
  for (;;) {
    const before = journal.records.length;
    try {
      await run();
      return;
    } catch (error) {
      fruitless = journal.records.length > before ? 0 : fruitless + 1;
      if (!(error instanceof DeviceLostError) || fruitless >= MAX_FRUITLESS_ATTEMPTS) throw error;
      const next = job.plan.steps.find((step) => !isFinished(journal, step));
      const from = next?.name ?? "the end";
      job.progress.tell({ notice: `${error.message} Going on from ${from} with a new device.` });
    }
  }
}
