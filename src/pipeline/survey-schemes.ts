// One pass over a model that measures what each of several schemes would lose of each module, and writes nothing: every layer is
// quantized by all of them from the same statistics, on the original model's hidden states, and what its error does to the end of
// the model is tried.

import { invariant } from "../errors.ts";
import { tensorBytes } from "../formats/safetensors/safetensors.ts";
import { deleteJobFolder, openJobFolder } from "../offload/job-folder.ts";
import type { JournalRecord, JournalRecords } from "../offload/journal.ts";
import type { HostBytes } from "../onload/host-bytes.ts";
import { recordedModules } from "./job/job-journal.ts";
import { keepRows } from "./job/embedding-rows.ts";
import { createFigures, type Job, type RunOutput } from "./job/job.ts";
import { survivingLoss } from "./job/survive-loss.ts";
import { type MeasuredSchemes, measuredSchemes } from "./planning/plan-survey.ts";
import { planTrials, type TrialPlan } from "./planning/plan-trials.ts";
import type { PlannedStep } from "./planning/planned-step.ts";
import { calibrate } from "./sequential/passes/calibrate.ts";
import { type LayerOutput, type LayerTurn, onload } from "./sequential/layer-at-work.ts";
import { propagate } from "./sequential/passes/propagate.ts";
import { quantize } from "./sequential/passes/quantize.ts";
import { reduce } from "./sequential/exchange/reduce.ts";
import { type CompressedLayer, runSequential } from "./sequential/run-sequential.ts";
import { openTrials, type Trials } from "./sequential/trials.ts";
import { endedBy } from "../ended-by.ts";

/** Holds hidden states while it lasts; no job has such a name. */
const FOLDER = "survey";

/** Collects and quantizes as a job does; then sets of modules are tried with the codes of the candidate that loses the most. */
async function surveyLayer(turn: LayerTurn, trials: Trials, share: number): Promise<CompressedLayer> {
  const meanings = new Map<string, HostBytes>();
  const tried = turn.outputs.toSorted((a, b) => storedBytes(a) - storedBytes(b))[0];
  // Trials put codes in the place of weights, which therefore lie in host memory.
  using layer = await onload({ ...turn, schedule: { ...turn.schedule, overlap: false, settling: null } });
  await trials.begin(layer);
  for (const pass of layer.passes) {
    using statistics = await calibrate(layer, pass);
    await reduce(layer, pass, statistics);
    for (const output of layer.outputs)
      await quantize(layer, output === tried ? { ...output, meanings } : output, pass, statistics);
  }
  await trials.run(layer, meanings);
  // What is planned as propagating is that of the samples and the trials.
  const report: typeof turn.services.report = (phase, detail, done) =>
    turn.services.report(phase, detail, done * (1 - share));
  const recordable = await propagate({ ...layer, services: { ...layer.services, report } });
  return { mappings: [], folds: [], recordable };
}

/** The share of trials in what a step propagates. */
function shareOf({ index, calibrated }: PlannedStep, { work }: TrialPlan): number {
  return calibrated ? (work.get(index) ?? 0) / calibrated.work.propagating : 0;
}

function storedBytes({ share }: LayerOutput): number {
  const sizes = share.tasks.flatMap(({ outputs }) => outputs.map(tensorBytes));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Measures the schemes of a planned run's results.
 * @param job the leading one, of which the original's hidden states are propagated
 */
export async function surveySchemes(job: Job, candidates: readonly Job[]): Promise<MeasuredSchemes> {
  invariant(job.plan.calibration?.options.propagate_error === false, "a survey looks at the original model");
  const folder = await openJobFolder(FOLDER);
  const planned = planTrials(job.plan);
  const shares = new Map(job.plan.steps.map((step) => [step.index, shareOf(step, planned)]));
  const trials = openTrials(planned, shares);
  const run = async () => {
    const results = candidates.map((each) => ({ job: each, store: NOWHERE, journal: memoryJournal() }));
    const output: RunOutput = {
      folder,
      journal: memoryJournal(),
      results,
      figures: createFigures(),
      embedding: keepRows(job),
    };
    const layers = job.plan.steps.filter(({ calibrated }) => calibrated !== null);
    const survey = async (turn: LayerTurn) =>
      await surveyLayer(turn, trials, shares.get(turn.step.index) ?? 0);
    await survivingLoss(job, output, async () => await runSequential(job, layers, output, survey));
    const reports = results.map(({ journal }) => recordedModules(journal));
    return measuredSchemes(
      candidates.map(({ plan }) => plan),
      reports,
      trials.results(),
    );
  };
  return await endedBy(run, async () => await deleteJobFolder(FOLDER));
}

const NOWHERE = { write: () => undefined, flush: () => undefined };

/** What is known is known as long as the page lives. */
function memoryJournal(): JournalRecords {
  const records: JournalRecord[] = [];
  return { records, append: (record) => void records.push(record) };
}
