// The hidden states that the first layer of a calibrated job begins with: rows of the embedding table.

import { mostTokens, type SequenceBatch } from "../../../calibrate/batches.ts";
import {
  eachRow,
  type Embedding,
  type EmbeddingTable,
  embeddingOf,
  openEmbedding,
} from "../../../calibrate/forward/embed-tokens.ts";
import type { HiddenStates, RowTable } from "../../../calibrate/hidden-states.ts";
import { invariant } from "../../../errors.ts";
import { greatestOf } from "../../../greatest-of.ts";
import { isFloatDtype } from "../../../formats/numbers/dtype.ts";
import { spreadRows } from "../../../formats/weights/spread-rows.ts";
import type { CalibrationJob } from "../../calibration/plan-calibrated-layers.ts";
import { type EmbeddingRows, MAX_EMBEDDING_BYTES } from "../../job/embedding-rows.ts";
import type { Job } from "../../job/job.ts";
import { touchArrays } from "./touched-arrays.ts";
import { yieldToMessages } from "../../../yield-to-messages.ts";

/** Where the first hidden states go. */
type StartedStates = Pick<HiddenStates, "put" | "table" | "keepsArrays">;

interface EmbeddingWork {
  readonly batches: readonly { readonly batch: SequenceBatch; readonly ids: Uint32Array<ArrayBuffer> }[];
  readonly checkpoint: () => Promise<void>;
}

/** Rows of the embedding table, gathered from byte ranges; only those that are used go to the GPU. */
export async function embed(
  job: Job,
  { description, set, plan }: CalibrationJob,
  states: StartedStates,
  kept: EmbeddingRows,
): Promise<void> {
  job.progress.tell({ phase: "embedding" });
  const tensor = job.model.tensors.find(({ name }) => name === description.embedding.tensor);
  invariant(tensor && isFloatDtype(tensor.dtype), "the decoder has an embedding");
  const { dtype, file, start } = tensor;
  const table = {
    dtype,
    rows: description.vocabSize,
    columns: description.hiddenSize,
    multiplier: description.embedding.multiplier,
    async read(from: number, to: number) {
      const range = { path: file, start: start + from, end: start + to };
      return kept.read(range) ?? (await job.source.read(range));
    },
  };
  const used = new Set(set.sequences.flatMap((sequence) => [...sequence]));
  const batches = plan.batches.map((batch) => ({ batch, ids: idsOf(batch, set.sequences) }));
  const checkpoint = async () => await job.control.checkpoint();
  const width = plan.hidden.size;
  const isGapless = width === table.columns;
  // Rows that do not go to the GPU at once are read for each batch: of a source, a chunk for each row, again and again.
  const most = mostTokens(plan.batches);
  const areMany = used.size > (states.table?.capacity ?? most);
  if (areMany || kept.areClose) await kept.bring(async (range) => await job.source.read(range));
  if (states.table && dtype === "BF16" && isGapless && table.columns % 2 === 0)
    await gatherOnGpu(table, states.table, used, { batches, checkpoint });
  else {
    // Ranges of rows would be put together for each batch: as much new memory as the table takes.
    const rows =
      areMany && kept.keeps
        ? embeddingOf(table, used, (id) => kept.row(id))
        : await openEmbedding(table, used, MAX_EMBEDDING_BYTES);
    await putOnHost({ rows, width, columns: table.columns }, states, { batches, checkpoint });
  }
  kept.forget();
}

/** Rows are widened on the host, a batch at a time, in the memory where it stays if it waits there as it is. */
async function putOnHost(
  from: { readonly rows: Embedding; readonly width: number; readonly columns: number },
  states: StartedStates,
  { batches, checkpoint }: EmbeddingWork,
): Promise<void> {
  const { rows, width, columns } = from;
  const lengths = batches.map(({ ids }) => ids.length * columns);
  const keeps = states.keepsArrays && width === columns;
  const shared = keeps ? undefined : new Float32Array(greatestOf(lengths));
  using own = touchArrays(keeps ? lengths : []);
  for (const { batch, ids } of batches) {
    await checkpoint();
    // Who asks how far the job is, or cancels it, is answered between two batches.
    await yieldToMessages();
    const values = await rows(ids, shared ?? (await own.next()));
    await states.put(batch, spreadRows(values, columns, width));
  }
}

/** Two streams of samples that begin alike. */
export function both(one: StartedStates, other: StartedStates): StartedStates {
  const [table, second] = [one.table, other.table];
  return {
    keepsArrays: one.keepsArrays,
    async put(batch, values) {
      await one.put(batch, values);
      // Later each stream puts new states where its own old ones lay.
      await other.put(batch, other.keepsArrays ? values.slice() : values);
    },
    // Both tables are the same rows, which wait where no layer is at work yet.
    table: table &&
      second && {
        ...table,
        async put(...rows) {
          await table.put(...rows);
          await second.put(...rows);
        },
      },
  };
}

function idsOf(batch: SequenceBatch, sequences: readonly Uint32Array[]): Uint32Array<ArrayBuffer> {
  const ids = new Uint32Array(batch.tokens);
  sequences
    .slice(batch.first, batch.first + batch.starts.length - 1)
    .forEach((sequence, index) => ids.set(sequence, batch.starts[index]));
  return ids;
}

/** Rows go to the GPU as they are, once if all that are used fit, else those of a batch at a time. */
async function gatherOnGpu(
  table: EmbeddingTable,
  rows: RowTable,
  used: ReadonlySet<number>,
  work: EmbeddingWork,
): Promise<void> {
  const fill = async (ids: ReadonlySet<number>) => {
    const sorted = [...ids].toSorted((a, b) => a - b);
    await eachRow(table, sorted, async (bytes, first) => await rows.fill(bytes, first));
    return new Map(sorted.map((id, place) => [id, place]));
  };
  const all = used.size <= rows.capacity ? await fill(used) : null;
  for (const { batch, ids } of work.batches) {
    await work.checkpoint();
    const placeOf = all ?? (await fill(new Set(ids)));
    await rows.put(batch, placesOf(ids, placeOf), table.multiplier);
  }
}

function placesOf(ids: Uint32Array, placeOf: ReadonlyMap<number, number>): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(ids, (id) => {
    const place = placeOf.get(id);
    invariant(place !== undefined, "the row of each id is on the GPU");
    return place;
  });
}
