// The buffers that a forward pass writes, made once a job. Mixer and feed-forward take turns in the same scratch buffer.

import { type Lifetime, openTogether } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import type { RingSize } from "../../gpu/staging/ring-pieces.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { createRotaryTable, type RotaryTable } from "./rotary/rotary-table.ts";
import type { Rotary } from "../../model/mixer-description.ts";

export interface WorkspaceSize {
  /** Rows of the largest batch. */
  readonly tokens: number;
  /** Tokens of the longest sequence. */
  readonly longest: number;
  /** The largest buffer that may be bound. */
  readonly maxBufferBytes: number;
  /**
   * Tokens whose MLP is computed at once; default all that `maxBufferBytes` allows. Fewer take less memory, but their
   * Linears' weights are asked for anew for each run.
   */
  readonly mlpTokens?: number;
}

export interface WorkspacePlan {
  readonly size: WorkspaceSize;
  readonly mlpTokens: number;
  /** Bytes of normed hidden states. */
  readonly normedBytes: number;
  /** Bytes of what a mixer works on, or of an MLP's inner values. */
  readonly scratchBytes: number;
  /** Bytes of what mixtures of experts need, or null. */
  readonly experts: ExpertBytes | null;
  readonly rotaries: readonly Rotary[];
  /** GPU bytes of the whole workspace. */
  readonly bytes: number;
}

/** Zero for what these layers do not need. */
export type ExpertBytes = Readonly<Record<keyof ExpertBuffers, number>>;

/** For as many tokens as `mlpTokens`. */
export interface ExpertBuffers {
  /** (tokens, experts) of the router, rows padded to 4. */
  readonly logits: LedgerBuffer;
  /** (tokens, topK) pairs of an expert and the bits of its weight. */
  readonly routes: LedgerBuffer;
  /** Routes sorted by expert. */
  readonly order: LedgerBuffer;
  /** (tokens, hidden): the rows of one expert's tokens. */
  readonly input: LedgerBuffer;
  /** (tokens, hidden) */
  readonly output: LedgerBuffer;
  /** (tokens, 4) of a shared expert's gate. */
  readonly gate: LedgerBuffer;
  /** (tokens, hidden): the outputs of all experts, where those are normed before they join the residual. */
  readonly sum: LedgerBuffer | null;
}

export interface Workspace extends Disposable {
  readonly plan: WorkspacePlan;
  /** (tokens, hidden): a block's input, and its output where that is normed before it joins the residual. */
  readonly normed: LedgerBuffer;
  readonly scratch: LedgerBuffer;
  readonly experts: ExpertBuffers | null;
  rotaryTable(rotary: Rotary): RotaryTable;
  /** Copies host bytes into one of the buffers, in order with the queue. */
  upload(bytes: Uint8Array, to: LedgerBuffer): Promise<void>;
  /** Reads the start of one of the experts' buffers once the GPU has written it. */
  readBytes(from: LedgerBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Routes come to the host to be sorted. */
export function readbackSize({ routes }: ExpertBytes): RingSize {
  return { pieceBytes: routes, pieces: 1 };
}

/** Allocates what the plan says. */
export async function createWorkspace(
  gpu: Gpu,
  uploads: UploadRing,
  plan: WorkspacePlan,
): Promise<Workspace> {
  return await openTogether(async (parts) => {
    const buffers = await createBuffers(gpu, uploads, plan, parts);
    const { readbacks, tables, ...named } = buffers;
    return {
      plan,
      ...named,
      rotaryTable(rotary) {
        const table = tables.get(rotary);
        invariant(table, "the workspace was planned for this layer");
        return table;
      },
      upload: (bytes, to) => uploads.write(bytes, to),
      async readBytes(from, bytes) {
        invariant(readbacks, "the workspace was planned for experts");
        return await readbacks.readBytes(from, 0, bytes);
      },
    };
  });
}

async function createBuffers(gpu: Gpu, uploads: UploadRing, plan: WorkspacePlan, lifetime: Lifetime) {
  const [normed, scratch] = await gpu.memory.allocateAll([
    { label: "normed hidden states", bytes: plan.normedBytes },
    { label: "forward scratch", bytes: plan.scratchBytes },
  ]);
  lifetime.use(normed);
  lifetime.use(scratch);
  const experts = plan.experts && (await createExpertBuffers(gpu, plan.experts, lifetime));
  const readbacks = plan.experts && lifetime.use(await ReadbackRing.create(gpu, readbackSize(plan.experts)));
  const tables = new Map<Rotary, RotaryTable>();
  for (const rotary of plan.rotaries) {
    tables.set(rotary, lifetime.use(await createRotaryTable(gpu, uploads, rotary, plan.size.longest)));
  }
  return { normed, scratch, experts, readbacks, tables };
}

async function createExpertBuffers(gpu: Gpu, bytes: ExpertBytes, lifetime: Lifetime): Promise<ExpertBuffers> {
  const [logits, routes, order, input, output, gate] = await gpu.memory.allocateAll([
    { label: "router logits", bytes: bytes.logits },
    { label: "routes", bytes: bytes.routes },
    { label: "routes by expert", bytes: bytes.order },
    { label: "an expert's input", bytes: bytes.input },
    { label: "an expert's output", bytes: bytes.output },
    { label: "shared expert's gate", bytes: bytes.gate },
  ]);
  const buffers = { logits, routes, order, input, output, gate };
  for (const buffer of Object.values(buffers)) lifetime.use(buffer);
  const sum =
    bytes.sum > 0 ? await gpu.memory.allocate({ label: "experts' outputs", bytes: bytes.sum }) : null;
  if (sum) lifetime.use(sum);
  return { ...buffers, sum };
}
