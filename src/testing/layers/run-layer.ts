// A small layer under the conductor's verbs, on a test's GPU, without a source or a disk.

import { createBatch } from "../../calibrate/forward/token-batch.ts";
import { createWorkspace } from "../../calibrate/forward/workspace.ts";
import { createLifetime, type Lifetime } from "../../disposal.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { createJointWork } from "../../joint-work.ts";
import type { HostLayer } from "../../onload/host-layer.ts";
import type { LayerSchedule } from "../../pipeline/calibration/fit/layer-schedule.ts";
import { type CalibrationJob, expertCalibration } from "../../pipeline/calibration/plan-calibrated-layers.ts";
import { batchesOf } from "../../pipeline/calibration/samples/sample-chunks.ts";
import { streamedStep } from "../../pipeline/planning/planned-step.ts";
import { createFolders } from "../../pipeline/sequential/rewriting/folder-threads.ts";
import type { LayerOutput, LayerTurn } from "../../pipeline/sequential/layer-at-work.ts";
import { createWeightsAhead } from "../../pipeline/sequential/onload/weights-ahead.ts";
import type { SequentialServices } from "../../pipeline/sequential/services.ts";
import { openTestGpu } from "../test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../random.ts";
import { MIB, LENGTHS, TOKENS, HIDDEN, only } from "./small-layer.ts";

/** What a run takes beside what was planned: the hidden states are its own. */
export const RUN_BYTES = 8 * MIB;
export const STATES = randomNormal(TOKENS * HIDDEN, seededRandom(3));

export interface Run extends Disposable {
  /** What quantizing wrote, by tensor and offset. */
  readonly written: Map<string, readonly number[]>;
  readonly services: SequentialServices;
  /** What propagating saved since this was last asked. */
  outputs(): Float32Array;
}

const NO_TRAFFIC: SequentialServices["traffic"] = {
  joint: createJointWork(),
  read: async () => await Promise.resolve(new Uint8Array()),
  checkpoint: async () => await Promise.resolve(),
  recycle: () => undefined,
  finished: () => undefined,
};

/** Hidden states that are the same whenever they are asked for; what is saved goes to `outputs`. */
export function statesIn(
  { uploads, readbacks }: Pick<SequentialServices, "uploads" | "readbacks">,
  outputs: Float32Array,
  values: Float32Array<ArrayBuffer> = STATES,
): SequentialServices["states"] {
  return {
    async load({ firstToken, tokens }, to) {
      const part = values.slice(firstToken * HIDDEN, (firstToken + tokens) * HIDDEN);
      await uploads.write(new Uint8Array(part.buffer), to);
    },
    async save({ firstToken, tokens }, from) {
      const bytes = await readbacks.readBytes(from, 0, tokens * HIDDEN * 4);
      outputs.set(new Float32Array(bytes.buffer), firstToken * HIDDEN);
    },
    keepsArrays: false,
    put: async () => await Promise.resolve(),
    table: null,
    turn: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}

async function openBatches(
  { gpu, uploads }: Pick<SequentialServices, "gpu" | "uploads">,
  { maxTokens, byChunk }: Parameters<typeof batchesOf>[1],
  lifetime: Lifetime,
): Promise<SequentialServices["batches"]> {
  const batches = [];
  for (const rows of batchesOf(LENGTHS, { maxTokens, byChunk })) {
    const lengths = LENGTHS.slice(rows.first, rows.first + rows.starts.length - 1);
    batches.push({ rows, tokens: lifetime.use(await createBatch(gpu, uploads, lengths)) });
  }
  return batches;
}

/** Nothing is kept, nothing told, nothing shared. */
const SILENT = {
  share: null,
  keepsStates: () => false,
  keepStates: async () => await Promise.resolve(),
  report: () => undefined,
};

const NEVER_PAUSED = { checkpoint: async () => await Promise.resolve(), now: () => performance.now() };

/** What these layers have no use for. */
const NOTHING_MORE = { tiles: null, original: null, tokenTables: null };

export async function openRun(
  job: CalibrationJob,
  budgetBytes: number,
  { buffers = 1, maxTokens = job.plan.shape.maxTokens } = {},
): Promise<Run> {
  const lifetime = createLifetime();
  const test = await openTestGpu(budgetBytes + RUN_BYTES);
  const { gpu } = test;
  const { plan } = job;
  const uploads = lifetime.use(await UploadRing.create(gpu, plan.shape.ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, plan.shape.readbackRing));
  const request = { label: "hidden", bytes: TOKENS * HIDDEN * 4 };
  const hidden: readonly LedgerBuffer[] = await gpu.memory.allocateAll(
    Array.from({ length: buffers }, () => request),
  );
  hidden.forEach((buffer) => lifetime.use(buffer));
  const rings = { gpu, uploads, readbacks };
  const outputs = new Float32Array(STATES.length);
  const written = new Map<string, readonly number[]>();
  const services: SequentialServices = {
    ...rings,
    plan,
    ...NOTHING_MORE,
    traffic: NO_TRAFFIC,
    fold: createFolders(),
    workspace: lifetime.use(await createWorkspace(gpu, uploads, plan.workspace)),
    batches: await openBatches(rings, { maxTokens, byChunk: job.chunkAt !== null }, lifetime),
    hidden,
    states: statesIn(rings, outputs),
    samples: LENGTHS.length,
    chunkAt: job.chunkAt,
    experts: expertCalibration(job.options),
    minExpertTokens: job.options.moe_min_tokens_per_expert,
    ...NEVER_PAUSED,
    ...SILENT,
  };
  return {
    services,
    written,
    outputs() {
      const saved = outputs.slice();
      outputs.fill(0);
      return saved;
    },
    [Symbol.dispose]() {
      lifetime[Symbol.dispose]();
      test[Symbol.dispose]();
    },
  };
}

/** The turn of the one layer that was planned. */
export function turnOf(
  { services, written }: Pick<Run, "services" | "written">,
  job: CalibrationJob,
  host: HostLayer,
  schedule: LayerSchedule = only(job.plan.layers),
  propagates = true,
): LayerTurn {
  const step = streamedStep({ index: 1, name: "model.layers.0", quantize: [], copy: [], measured: [] });
  const layer = only(job.layers);
  const write: LayerOutput["write"] = (tensor, offset, bytes) =>
    void written.set(`${tensor} ${offset}`, [...bytes]);
  return {
    step,
    layer,
    outputs: [{ step, share: layer, write, reports: [], propagates }],
    schedule,
    isLast: false,
    passed: null,
    index: 0,
    services,
    host,
    hosts: {
      take: async () => await Promise.resolve(host),
      coming: () => null,
      readAhead: () => undefined,
      readAfter: () => undefined,
      quiet: async () => await Promise.resolve(),
    },
    ahead: createWeightsAhead(services, { coming: () => null }, [step]),
    clock: { due: () => false, restart: () => undefined },
    gone: async () => await Promise.resolve(),
  };
}
