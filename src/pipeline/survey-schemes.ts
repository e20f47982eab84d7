// One pass over a model that measures what each of several schemes would lose of each module, and writes nothing: every layer is
// quantized by all of them from the same statistics, on the original model's hidden states.

import { invariant } from "../errors.ts";
import { deleteJobFolder, openJobFolder } from "../offload/job-folder.ts";
import type { JournalRecord, JournalRecords } from "../offload/journal.ts";
import { recordedModules } from "./job/job-journal.ts";
import { createFigures, type Job, type RunOutput } from "./job/job.ts";
import { survivingLoss } from "./job/survive-loss.ts";
import { type MeasuredSchemes, measuredSchemes } from "./planning/plan-survey.ts";
import { calibrate } from "./sequential/calibrate.ts";
import { type LayerTurn, onload } from "./sequential/layer-at-work.ts";
import { propagate } from "./sequential/propagate.ts";
import { quantize } from "./sequential/quantize.ts";
import { type CompressedLayer, runSequential } from "./sequential/run-sequential.ts";

/** Holds hidden states while it lasts; no job has such a name. */
const FOLDER = "survey";

async function surveyLayer(turn: LayerTurn): Promise<CompressedLayer> {
  using layer = await onload(turn);
  for (const pass of layer.passes) {
    using statistics = await calibrate(layer, pass);
    for (const output of layer.outputs) await quantize(layer, output, pass, statistics);
  }
  return { mappings: [], folds: [], recordable: await propagate(layer) };
}

/**
 * Measures the schemes of a planned run's results.
 * @param job the leading one, of which the original's hidden states are propagated
 */
export async function surveySchemes(job: Job, candidates: readonly Job[]): Promise<MeasuredSchemes> {
  invariant(job.plan.calibration?.options.propagate_error === false, "a survey looks at the original model");
  const folder = await openJobFolder(FOLDER);
  try {
    const results = candidates.map((each) => ({ job: each, store: NOWHERE, journal: memoryJournal() }));
    const output: RunOutput = {
      folder,
      journal: memoryJournal(),
      results,
      figures: createFigures(),
      against: "zeros",
    };
    const layers = job.plan.steps.filter(({ calibrated }) => calibrated !== null);
    await survivingLoss(job, output, async () => await runSequential(job, layers, output, surveyLayer));
    const plans = candidates.map(({ plan }) => plan);
    return measuredSchemes(
      plans,
      results.map(({ journal }) => recordedModules(journal)),
    );
  } finally {
    await deleteJobFolder(FOLDER);
  }
}

const NOWHERE = { write: () => undefined, flush: () => undefined };

/** What is known is known as long as the page lives. */
function memoryJournal(): JournalRecords {
  const records: JournalRecord[] = [];
  return { records, append: (record) => void records.push(record) };
}
