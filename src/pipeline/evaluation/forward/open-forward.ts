// What lives through all layers of an evaluation's forward pass, and the hidden states that the first layer begins with.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { forwardOf } from "../../../calibrate/forward/mixers/forward-of.ts";
import { createBatch, type TokenBatch } from "../../../calibrate/forward/token-batch.ts";
import { distinctIds } from "../../../calibrate/forward/token-inputs/token-input-source.ts";
import type { TokenTables } from "../../../calibrate/forward/token-inputs/token-inputs.ts";
import { createWorkspace, type Workspace } from "../../../calibrate/forward/workspace.ts";
import { type HiddenStates, openHiddenStates } from "../../../calibrate/hidden-states.ts";
import type { Lifetime } from "../../../disposal.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { spreadRows } from "../../../formats/weights/spread-rows.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { prepareForwardProduct } from "../../../gpu/matmul/forward-product.ts";
import { tuneMatmul } from "../../../gpu/matmul/tune-matmul.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import { ReadbackRing } from "../../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import { rowSize } from "../../../model/decoder-description.ts";
import { layerLinears } from "../../../model/layer-linears.ts";
import { batchHiddenBytes } from "../../calibration/costs/calibration-memory.ts";
import { waitLater } from "../../../wait-later.ts";
import { keepReads, type KeptReads } from "./kept-reads.ts";
import { type ForwardPlan, planForward } from "./plan-forward.ts";
import { readAhead, type ReadAhead } from "./read-ahead.ts";
import { openStoredRows, rowsDtype, type StoredRows } from "./stored-rows.ts";
import { openStoredTables } from "./stored-tables.ts";
import { bindingLimit } from "./stored-weights.ts";
import { createWeightRooms, type WeightRooms } from "./weight-rooms.ts";

/** What is computed. */
export interface ForwardInputs {
  readonly gpu: Gpu;
  /** What is measured. */
  readonly model: StoredModel;
  /** What it is measured against, or null. */
  readonly original: StoredModel | null;
  /** Token ids; no sequence sees another. */
  readonly sequences: readonly (readonly number[])[];
}

/** A model with the hidden states of all sequences. */
export interface ForwardStream {
  readonly model: StoredModel;
  readonly states: HiddenStates;
  /** (tokens, hidden + carried) float32: the batch at work. */
  readonly hidden: LedgerBuffer;
  readonly rows: StoredRows;
  readonly ahead: ReadAhead;
  readonly tables: TokenTables | null;
}

/** What lives through all layers. */
export interface ForwardServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  readonly plan: ForwardPlan;
  readonly workspace: Workspace;
  readonly batches: readonly { readonly rows: SequenceBatch; readonly tokens: TokenBatch }[];
  readonly rounded: LedgerBuffer | null;
  /** For weights of one layer after the other. */
  readonly rooms: WeightRooms;
  /** Σ(own − original)² and Σ original² of each token. */
  readonly differences: LedgerBuffer;
  readonly streams: readonly ForwardStream[];
  /** What was read of the measured model and may be asked for again. */
  readonly kept: KeptReads;
}

/**
 * Plans and makes what lives through all layers, and the first hidden states.
 * @throws DeviceLimitError if the budget holds no batch.
 */
export async function openForward(request: ForwardInputs, lifetime: Lifetime): Promise<ForwardServices> {
  const { gpu, model, original, sequences } = request;
  const models = original ? [model, original] : [model];
  const lengths = sequences.map(({ length }) => length);
  const { ids, placeOf } = distinctIds(sequences);
  const limits = { budgetBytes: gpu.memory.budgetBytes, maxBufferBytes: bindingLimit(gpu) };
  const plan = planForward({ models, lengths, ids: ids.length }, limits);
  const reading = (each: StoredModel) =>
    plan.readsOnce ? readAhead(each.once?.() ?? each) : readAhead(each, 0);
  const ahead = models.map(reading);
  const kept = keepReads(ahead[0]?.model ?? model);
  const embedding = ahead.map((each, index) => {
    const read = { model: index === 0 ? kept.model : each.model, ahead: each };
    return { ...read, embedded: waitLater(embed(read, sequences)) };
  });
  await tuneMatmul(gpu);
  prepareKernels(gpu, models);
  const uploads = lifetime.use(await UploadRing.create(gpu, plan.ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, plan.ring));
  const workspace = lifetime.use(await createWorkspace(gpu, uploads, plan.workspace));
  const allocate = async (label: string, bytes: number) =>
    lifetime.use(await gpu.memory.allocate({ label, bytes }));
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const rounded = plan.roundedBytes > 0 ? await allocate("rounded inputs", plan.roundedBytes) : null;
  const differences = await allocate("differences of hidden states", tokens * 8);
  const batches = [];
  for (const rows of plan.batches) {
    const own = sequences.slice(rows.first, rows.first + rows.starts.length - 1);
    const given = model.description.tokenInputs ? Uint32Array.from(own.flat(), placeOf) : null;
    const batch = await createBatch(
      gpu,
      uploads,
      own.map(({ length }) => length),
      given,
    );
    batches.push({ rows, tokens: lifetime.use(batch) });
  }
  const among = { gpu, uploads, readbacks, plan };
  const streams: ForwardStream[] = [];
  for (const each of embedding) streams.push(await openStream(each, { ...among, ids }, lifetime));
  const rooms = lifetime.use(createWeightRooms(gpu));
  return { ...among, workspace, batches, rounded, rooms, differences, streams, kept };
}

/** First hidden states of all sequences; the first layer's bytes come behind them. */
async function embed(
  { model, ahead }: Pick<ForwardStream, "model" | "ahead">,
  sequences: ForwardInputs["sequences"],
): Promise<Float32Array<ArrayBuffer>[]> {
  model.announce?.(-1);
  const embedded = await model.embed(sequences);
  ahead.begin(0);
  return embedded;
}

/** Begins to compile what layers would wait for longest; meanwhile tokens are embedded. */
function prepareKernels(gpu: Gpu, models: readonly StoredModel[]): void {
  const layers = models.flatMap((model) => model.description.layers.map((layer) => ({ model, layer })));
  const dtypes = new Set(
    layers.flatMap(({ model, layer }) => layerLinears(layer).map((linear) => rowsDtype(model, linear))),
  );
  for (const bDtype of dtypes) {
    for (const accumulate of [false, true]) prepareForwardProduct(gpu, { bDtype, accumulate });
  }
  const mixers = new Set(layers.flatMap(({ layer }) => layer.mixers));
  for (const mixer of mixers) forwardOf(mixer).prepare(gpu);
}

/** A model whose tokens are being embedded. */
interface Embedding extends Pick<ForwardStream, "model" | "ahead"> {
  readonly embedded: Promise<Float32Array<ArrayBuffer>[]>;
}

async function openStream(
  { model, ahead, embedded }: Embedding,
  services: Pick<ForwardServices, "gpu" | "uploads" | "readbacks" | "plan"> & {
    readonly ids: Uint32Array<ArrayBuffer>;
  },
  lifetime: Lifetime,
): Promise<ForwardStream> {
  const { gpu, uploads, plan, ids } = services;
  const { description } = model;
  const width = rowSize(description);
  const hidden = lifetime.use(
    await gpu.memory.allocate({
      label: "hidden states at work",
      bytes: batchHiddenBytes(plan.batches, width),
    }),
  );
  const linears = [...description.layers.flatMap(layerLinears), description.head.linear];
  const rows = lifetime.use(await openStoredRows(gpu, uploads, model, linears));
  const tables = description.tokenInputs
    ? lifetime.use(await openStoredTables(gpu, uploads, model, ids))
    : null;
  const layout = { batches: plan.batches, hiddenSize: width, dtype: "F32", place: plan.hiddenPlace } as const;
  const file = () => {
    throw new Error("Defect: hidden states wait in no file");
  };
  const states = lifetime.use(
    await openHiddenStates(layout, { ...services, packed: null, scratch: hidden, file }, 0),
  );
  const rowsOf = await embedded;
  for (const batch of plan.batches) {
    const own = new Float32Array(batch.tokens * width);
    rowsOf.slice(batch.first, batch.first + batch.starts.length - 1).forEach((values, at) => {
      own.set(spreadRows(values, description.hiddenSize, width), (batch.starts[at] ?? 0) * width);
    });
    await states.put(batch, own);
  }
  return { model, states, hidden, rows, ahead, tables };
}
