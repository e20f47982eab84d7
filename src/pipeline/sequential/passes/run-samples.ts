// All samples through a layer's present weights, batch after batch.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { forwardLayer } from "../../../calibrate/forward/forward-layer.ts";
import type { ForwardPass } from "../../../calibrate/forward/forward-pass.ts";
import type { ForwardHooks } from "../../../calibrate/forward/layer-weights.ts";
import type { HiddenStates } from "../../../calibrate/hidden-states.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import type { JointWork } from "../../../joint-work.ts";
import { eachBatch } from "./each-batch.ts";
import type { BatchesAtWork } from "../../calibration/fit/layer-schedule.ts";
import { type LayerAtWork, type TakeStates, weightsFor } from "../layer-at-work.ts";
import type { NeededWeights } from "../onload/onload-weights.ts";

export interface SampleRun {
  /** The hidden states that it begins with; default: those that see the error of earlier layers. */
  readonly states?: HiddenStates;
  readonly needed: NeededWeights;
  /** Batches on the GPU at once, if the plan has room for more than the whole job has; default: 1. */
  readonly atWork?: BatchesAtWork;
  readonly begin?: (batch: SequenceBatch) => void;
  /** Runs before a batch does, on what the batch itself runs on. */
  readonly before?: (batch: SequenceBatch, pass: ForwardPass) => Promise<void>;
  readonly each: TakeStates;
  readonly collect?: Pick<ForwardPass, "hooks" | "wanted" | "experts" | "stopAtLastInput">;
  /** More hooks, which run on what the pass itself runs on. */
  readonly hooksIn?: (pass: ForwardPass) => ForwardHooks;
  /** What the samples are a part of, where something else is at work beside them. */
  readonly joint?: JointWork;
  /** Tells which batch is at work, and its share of the samples. */
  readonly report: (detail: string, done: number) => void;
}

export async function runSamples(work: LayerAtWork, run: SampleRun): Promise<void> {
  const { gpu, workspace, batches, tokenTables } = work.services;
  using onloaded = await weightsFor(work, run.needed);
  const { weights } = onloaded;
  const isGiven = tokenTables && work.layer.description.tokenBlock;
  const given = isGiven ? { tokenTable: await tokenTables.of(work.index) } : {};
  const { states = work.services.states } = run;
  using second = await secondBatch(work, run);
  const hidden = [...work.services.hidden, ...(second ? [second] : [])];
  await eachBatch(
    { batches, hidden, states },
    async ({ rows, tokens }, index, batch) => {
      run.report(`batch ${index + 1} of ${batches.length}`, 1 / batches.length);
      run.begin?.(rows);
      const { units } = rows;
      const bare: ForwardPass = {
        gpu,
        weights,
        workspace,
        batch: tokens,
        ...(units && { units }),
        ...given,
      };
      await run.before?.(rows, bare);
      const plain: ForwardPass = { ...bare, ...run.collect };
      const pass = run.hooksIn ? { ...plain, hooks: run.hooksIn(plain) } : plain;
      await forwardLayer(pass, work.layer.description, batch);
      return async (free) => await run.each(rows, batch, free);
    },
    run.joint,
  );
  // Memory that goes back is not counted as free while the GPU still works with it; where none does, the GPU need not run out of work.
  if (second || onloaded.isOwn) await gpu.queue.idle();
  else await gpu.queue.flush();
}

/** Room for a batch beside the one that the job has room for. */
async function secondBatch(
  { services: { gpu, hidden } }: LayerAtWork,
  { atWork = 1 }: SampleRun,
): Promise<LedgerBuffer | null> {
  const [first] = hidden;
  if (!first || hidden.length >= atWork) return null;
  return await gpu.memory.allocate({ label: "hidden states beside those at work", bytes: first.bytes });
}
