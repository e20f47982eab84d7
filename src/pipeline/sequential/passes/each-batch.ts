// The batches of samples one after the other, the transfers of their hidden states beside what the GPU computes.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import type { HiddenStates } from "../../../calibrate/hidden-states.ts";
import { invariant } from "../../../errors.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import { createJointWork } from "../../../joint-work.ts";
import { waitLater } from "../../../wait-later.ts";

export interface BatchServices<Batch> {
  readonly batches: readonly Batch[];
  /** Room for the hidden states of one batch each. */
  readonly hidden: readonly LedgerBuffer[];
  readonly states: Pick<HiddenStates, "load">;
}

/** Takes a batch away; `free` may be told when others may write to its buffer, though it is still on its way to the host. */
export type TakeAway = (free: () => void) => Promise<void>;

/**
 * Brings the hidden states of each batch to `compute`, which returns what takes them away again. Where there are two
 * buffers, a batch comes while the one before it is computed, and goes while the next one is. No batch is computed before the last one
 * in its buffer has gone.
 * @param joint what transfers and computing are parts of: it knows of a failure before those under way have ended
 * @throws what failed first, once none is under way
 */
export async function eachBatch<Batch extends { readonly rows: SequenceBatch }>(
  { batches, hidden, states }: BatchServices<Batch>,
  compute: (batch: Batch, index: number, hidden: LedgerBuffer) => Promise<TakeAway>,
  joint = createJointWork(),
): Promise<void> {
  const taken: Promise<void>[] = hidden.map(async () => await Promise.resolve());
  const free = [...taken];
  const load = async (index: number): Promise<void> => {
    const slot = index % hidden.length;
    await free[slot];
    const [batch, buffer] = [batches[index], hidden[slot]];
    if (batch && buffer) await states.load(batch.rows, buffer);
  };
  let loading = joint.watch(load(0));
  try {
    for (const [index, batch] of batches.entries()) {
      const slot = index % hidden.length;
      const buffer = hidden[slot];
      invariant(buffer, "there is a buffer for the batch at work");
      await Promise.all([loading, taken[slot]]);
      if (hidden.length > 1) loading = joint.watch(load(index + 1));
      const takeAway = await joint.part(async () => await compute(batch, index, buffer));
      const freed = new Promise<void>((resolve, reject) => {
        const gone = joint.watch(takeAway(resolve));
        taken[slot] = gone;
        gone.then(resolve, reject);
      });
      free[slot] = waitLater(freed);
      if (hidden.length === 1) loading = joint.watch(load(index + 1));
    }
    await Promise.all(taken);
  } finally {
    await Promise.allSettled([loading, ...taken]);
  }
}
