// Makes what lives through all layers of a calibrated job, and the hidden states that the first unfinished layer begins with.

import { createBatch } from "../../calibrate/forward/token-batch.ts";
import { createWorkspace } from "../../calibrate/forward/workspace.ts";
import {
  type HiddenBytes,
  hiddenBytesPerToken,
  type HiddenStates,
  openHiddenStates,
} from "../../calibrate/hidden-states.ts";
import type { Lifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { openExchangeWindow } from "../../offload/exchange-window.ts";
import { type JobFile, openHiddenFile } from "../../offload/job-file.ts";
import { type CalibrationJob, expertCalibration } from "../calibration/plan-calibrated-layers.ts";
import { batchHiddenBytes } from "../calibration/costs/calibration-memory.ts";
import { finishedGenerations, recordedForward } from "../job/job-journal.ts";
import { TilePipeline } from "../data-free/tile-pipeline.ts";
import { type Job, type RunOutput, writesResult } from "../job/job.ts";
import type { SourceTraffic } from "../job/traffic.ts";
import { both, embed } from "./states/embed.ts";
import { openExchange } from "./exchange/exchange.ts";
import { createFolders } from "./rewriting/folder-threads.ts";
import { createLeftSums } from "./exchange/left-sums.ts";
import { createModuleMemory } from "./module-memory.ts";
import type { OriginalSamples, SequentialServices, ShareAtWork } from "./services.ts";
import { statesKeeper, takeStates } from "./states/states-files.ts";
import { openTokenInputs, type TokenInputsAtWork } from "./states/token-inputs.ts";

export interface Rings {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
}

/** Makes what lives through all layers, and the first hidden states if no earlier run did. */
export async function openServices(
  job: Job,
  calibration: CalibrationJob,
  output: RunOutput,
  { gpu, traffic }: { readonly gpu: Gpu; readonly traffic: SourceTraffic },
  lifetime: Lifetime,
): Promise<{ services: Omit<SequentialServices, "report">; flush: () => void }> {
  const { plan, set, tiling } = calibration;
  const tiles = tiling ? lifetime.use(await TilePipeline.create(gpu, tiling)) : null;
  const uploads = lifetime.use(await UploadRing.create(gpu, plan.shape.ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, plan.shape.readbackRing));
  const workspace = lifetime.use(await createWorkspace(gpu, uploads, plan.workspace));
  const atWork = {
    label: "hidden states at work",
    bytes: batchHiddenBytes(plan.batches, plan.hidden.size),
  };
  const hidden: readonly LedgerBuffer[] = await gpu.memory.allocateAll(
    Array.from({ length: plan.hidden.atWork }, () => atWork),
  );
  hidden.forEach((buffer) => lifetime.use(buffer));
  const [scratch] = hidden;
  invariant(scratch, "hidden states are at work somewhere");
  const rings = { gpu, uploads, readbacks };
  const given = await openTokenInputs(job, calibration, rings);
  if (given) lifetime.use(given.tables);
  const batches = await openBatches(calibration, rings, lifetime, given?.placeOf ?? null);
  const among = { ...rings, scratch };
  const { flush, stored, ...opened } = await openStates(job, calibration, output, among, lifetime);
  const services = {
    ...rings,
    plan,
    tiles,
    traffic,
    fold: createFolders(),
    workspace,
    batches,
    hidden,
    states: opened.states,
    original: opened.original && (await originalSamples(gpu, opened.original, atWork.bytes, lifetime)),
    tokenTables: given?.tables ?? null,
    samples: set.sequences.length,
    chunkAt: calibration.chunkAt,
    experts: expertCalibration(calibration.options),
    minExpertTokens: calibration.options.moe_min_tokens_per_expert,
    share: await openShare(job, output, traffic, lifetime),
    ...pausing(job, traffic),
    ...statesKeeper(job, calibration, output, stored),
  };
  return { services, flush };
}

/** Where layers wait while the job is paused, and the clock that stands still meanwhile. */
function pausing({ control }: Job, traffic: SourceTraffic): Pick<SequentialServices, "checkpoint" | "now"> {
  return { checkpoint: async () => await traffic.checkpoint(), now: control.now };
}

/** A batch of the original model is at work beside one of the quantized model. */
async function originalSamples(
  gpu: Gpu,
  states: HiddenStates,
  bytes: number,
  lifetime: Lifetime,
): Promise<OriginalSamples> {
  const request = { label: "original hidden states at work", bytes };
  return { states, hidden: lifetime.use(await gpu.memory.allocate(request)) };
}

async function openShare(
  job: Job,
  { folder, journal }: RunOutput,
  traffic: SourceTraffic,
  lifetime: Lifetime,
): Promise<ShareAtWork | null> {
  const { share } = job.plan;
  if (!share) return null;
  const products = recordedForward(journal) ?? "F32";
  const window = share.of > 1 ? lifetime.use(await openExchangeWindow(folder)) : null;
  const exchange = await openExchange(share, async () => await traffic.checkpoint(), window);
  return {
    plan: share,
    exchange,
    writes: writesResult(job),
    products,
    memory: createModuleMemory(),
    sums: createLeftSums(exchange),
  };
}

async function openBatches(
  { plan, set }: CalibrationJob,
  { gpu, uploads }: Rings,
  lifetime: Lifetime,
  placeOf: TokenInputsAtWork["placeOf"] | null,
): Promise<SequentialServices["batches"]> {
  const batches = [];
  for (const rows of plan.batches) {
    const sequences = set.sequences.slice(rows.first, rows.first + rows.starts.length - 1);
    const lengths = sequences.map(({ length }) => length);
    const given =
      placeOf &&
      Uint32Array.from(
        sequences.flatMap((ids) => [...ids]),
        placeOf,
      );
    batches.push({ rows, tokens: lifetime.use(await createBatch(gpu, uploads, lengths, given)) });
  }
  return batches;
}

interface OpenedStates {
  readonly states: HiddenStates;
  /** Those of the original model, where samples run through it, too. */
  readonly original: HiddenStates | null;
  readonly flush: () => void;
  readonly stored: (generation: number) => HiddenBytes;
}

/** The hidden states that feed the first unfinished layer. */
async function openStates(
  job: Job,
  calibration: CalibrationJob,
  { folder, journal, embedding }: RunOutput,
  services: Rings & { readonly scratch: LedgerBuffer },
  lifetime: Lifetime,
): Promise<OpenedStates> {
  const { batches, hidden, hiddenBytes } = calibration.plan;
  const own = await openFiles(folder, "hidden", hiddenBytes, lifetime);
  const packedBytes = batchHiddenBytes(batches, hidden.size) / 2;
  const packed =
    hidden.dtype === "BF16"
      ? lifetime.use(
          await services.gpu.memory.allocate({ label: "packed hidden states", bytes: packedBytes }),
        )
      : null;
  const generation = finishedGenerations(journal, job.plan.steps);
  const given = generation === 0 ? (job.plan.part?.states ?? []) : [];
  const takes = given.length > 0;
  const perToken = hiddenBytesPerToken({ hiddenSize: hidden.size, dtype: hidden.dtype });
  if (takes) await takeStates(job, given, own.stored(0), { perToken, all: hiddenBytes });
  const open = async (file: (at: number) => HiddenBytes) =>
    lifetime.use(
      await openHiddenStates(
        { batches, hiddenSize: hidden.size, dtype: hidden.dtype, place: hidden.place },
        { ...services, packed, file },
        generation,
        generation > 0 || takes,
      ),
    );
  const states = await open(own.stored);
  const other =
    hidden.streams === 2 ? await openFiles(folder, "hidden-original", hiddenBytes, lifetime) : null;
  const original = other && (await open(other.stored));
  // The embedding is cheaper to make again than to keep for after a crash.
  if (generation === 0 && !takes)
    await embed(job, calibration, original ? both(states, original) : states, embedding);
  const flush = () => {
    own.flush();
    other?.flush();
  };
  return { states, original, flush, stored: own.stored };
}

/** Two files of hidden states, which take turns by generation. */
async function openFiles(
  folder: RunOutput["folder"],
  name: string,
  bytes: number,
  lifetime: Lifetime,
): Promise<{ flush: () => void; stored: (generation: number) => JobFile }> {
  const even = lifetime.use(await openHiddenFile(folder, `${name}-0.bin`, bytes));
  const odd = lifetime.use(await openHiddenFile(folder, `${name}-1.bin`, bytes));
  return {
    flush() {
      even.flush();
      odd.flush();
    },
    stored: (generation) => (generation % 2 === 0 ? even : odd),
  };
}
