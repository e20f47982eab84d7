// READ FIRST. The whole path on one page: a planned model goes through the GPU a layer at a time and becomes a folder.
//
//   source ranges -> onload -> (rewrite) -> (calibrate) -> quantize -> (propagate) -> offload (OPFS, journal) -> next layer … -> package
//
// Where things join: a family of models is a description of its layers (`src/model/families`), whose mixers and feed-forward
// blocks `calibrate` and `propagate` run; an algorithm is a modifier (`src/quantize/quantizer.ts`), which says what `calibrate`
// collects for it and does its part in `quantize`.
//
// `reduce` and `awaitModules` do something where several jobs share the samples of one model, and nothing elsewhere.
//
// A step that the journal knows is not done again, so the loop is also the resume. If the GPU is lost, a new device
// goes on from the last finished layer.

import type { ResultSummary } from "../api/compressor-api.ts";
import { openJobFolder, openOutputFolder } from "../offload/job-folder.ts";
import { Journal } from "../offload/journal.ts";
import { OutputStore } from "../offload/output-store.ts";
import { writeSequences } from "./calibration/stored-sequences.ts";
import { runDataFree } from "./data-free/run-data-free.ts";
import { createFigures, type Job } from "./job/job.ts";
import { beginJournal, finishedResult } from "./job/job-journal.ts";
import { skipFinished, survivingLoss } from "./job/survive-loss.ts";
import type { PlannedStep } from "./planning/planned-step.ts";
import type { CompressionPlan } from "./planning/compression-plan.ts";
import { finishResult } from "./result/finish-result.ts";
import { withPresentSizes } from "./result/record-quality.ts";
import { calibrate } from "./sequential/calibrate.ts";
import { type LayerTurn, onload } from "./sequential/layer-at-work.ts";
import { offload } from "./sequential/offload.ts";
import { passLayer } from "./sequential/pass-layer.ts";
import { propagate } from "./sequential/propagate.ts";
import { quantize } from "./sequential/quantize.ts";
import { reduce } from "./sequential/reduce.ts";
import { rewrite } from "./sequential/rewrite.ts";
import { type CompressedLayer, runSequential } from "./sequential/run-sequential.ts";
import { awaitModules } from "./sequential/share-modules.ts";

/** One decoder layer of a job that calibrates. Weights that need no text go the shorter way of `runDataFree`, tile by tile. */
async function compressLayer(turn: LayerTurn): Promise<CompressedLayer> {
  using layer = await onload(turn);
  await rewrite(layer);
  using others = awaitModules(layer);
  for (const pass of layer.passes) {
    using statistics = await calibrate(layer, pass);
    await reduce(layer, pass, statistics);
    await quantize(layer, pass, statistics);
  }
  await others.take();
  const recordable = await propagate(layer);
  await offload(layer);
  const { reports: modules, rewritten: mappings, folded } = layer;
  return { modules, mappings, folds: folded.folds, recordable };
}

/** Runs a job, or goes on with it, until its result lies in OPFS. */
export async function compress(job: Job): Promise<ResultSummary> {
  const folder = await openJobFolder(job.plan.jobId);
  using journal = await Journal.open(folder);
  const finished = finishedResult(journal);
  if (finished) return await withPresentSizes(finished);
  if (job.plan.calibration && journal.records.length === 0)
    await writeSequences(folder, job.plan.calibration.set);
  await beginJournal(journal, job);
  skipFinished(job, journal);
  const output = await openOutputFolder(folder);
  const figures = createFigures();
  {
    using store = await OutputStore.open(output, job.plan.output.shards);
    const to = { folder, store, journal, figures };
    for (const { calibrated, steps } of runsOf(job.plan)) {
      await survivingLoss(job, journal, async () => {
        if (calibrated) await runSequential(job, steps, to, makesStates(job) ? passLayer : compressLayer);
        else await runDataFree(job, steps, to);
      });
    }
  }
  return await finishResult(job, journal, output, figures);
}

/** A part of a job may be to bring hidden states in front of other parts' layers, and nothing else. */
function makesStates({ plan: { part } }: Job): boolean {
  return part?.asked.kind === "states";
}

/** Neighbouring steps of one kind: decoder layers that are calibrated, and everything else. */
function runsOf(plan: CompressionPlan): { calibrated: boolean; steps: PlannedStep[] }[] {
  const runs: { calibrated: boolean; steps: PlannedStep[] }[] = [];
  for (const step of plan.steps) {
    const calibrated = step.calibrated !== null;
    const last = runs.at(-1);
    if (last && last.calibrated === calibrated) last.steps.push(step);
    else runs.push({ calibrated, steps: [step] });
  }
  return runs;
}
