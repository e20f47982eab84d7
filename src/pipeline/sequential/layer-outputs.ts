// What the results of a run take of a layer, and whose codes samples run through.

import { staysOriginal } from "../calibration/layers/calibrated-layer.ts";
import { isFinished } from "../job/job-journal.ts";
import { type Job, type ResultAtWork, type RunOutput, stepOf, writesResult } from "../job/job.ts";
import type { PlannedLayer, PlannedStep } from "../planning/planned-step.ts";
import type { LayerOutput } from "./layer-at-work.ts";

/** What a layer became for one of the results; null for what samples run through and that is written nowhere. */
export interface MadeLayer {
  readonly result: ResultAtWork | null;
  readonly output: LayerOutput;
}

/** Those results of a layer that are not written yet; the leading one comes last, written or not where its error is to be seen. */
export function outputsOf(
  { job, output: { results } }: { readonly job: Job; readonly output: Pick<RunOutput, "results"> },
  { layer }: PlannedLayer,
  step: PlannedStep,
): MadeLayer[] {
  const { calibration, others } = job.plan;
  const shares = new Map(layer.beside.map((share, index) => [others[index], share]));
  const made = results
    .filter(({ journal }) => !isFinished(journal, step))
    .map((result): MadeLayer => {
      const { store, job: own } = result;
      const share = shares.get(own.plan.jobId) ?? layer;
      const writes = writesResult(own);
      const write: LayerOutput["write"] = (tensor, offset, bytes) =>
        writes ? store.write(tensor, offset, bytes) : undefined;
      return {
        result,
        output: { step: stepOf(own, step), share, write, reports: [], propagates: false },
      };
    });
  const lead = made.find(({ output }) => output.share === layer);
  const rest = made.filter((each) => each !== lead);
  if (!calibration?.options.propagate_error || staysOriginal(layer)) return lead ? [...rest, lead] : rest;
  const led = lead?.output ?? { step, share: layer, write: () => undefined, reports: [] };
  return [...rest, { result: lead?.result ?? null, output: { ...led, propagates: true } }];
}
