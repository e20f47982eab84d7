// The buffers that a forward pass writes, made once a job. What they take is said before anything is allocated, so that
// the plan knows the job's peak. Attention and feed-forward take turns in the same scratch buffer.

import { createLifetime, type Lifetime } from "../../disposal.ts";
import { DeviceLimitError, invariant } from "../../errors.ts";
import { formatBytes } from "../../formats/format-bytes.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing, ringBytes, type RingSize, type UploadRing } from "../../gpu/staging.ts";
import type { LayerDescription, Mlp, Rotary } from "../../model/decoder-description.ts";
import { mlpsOf } from "../../model/layer-linears.ts";
import { checkHeadDim, qkvColumns } from "./mixers/attention/attend.ts";
import { createRotaryTable, type RotaryTable, rotaryTableBytes } from "./rotary/rotary-table.ts";

const FLOAT_BYTES = 4;
/** Runs of tokens are cut at whole tiles of the matrix product. */
const TOKEN_MULTIPLE = 64;

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
  /** Bytes of queries, keys and values, or of an MLP's inner values. */
  readonly scratchBytes: number;
  /** Bytes of what mixtures of experts need, or null. */
  readonly experts: ExpertBytes | null;
  readonly rotaries: readonly Rotary[];
  /** GPU bytes of the whole workspace. */
  readonly bytes: number;
}

type ExpertBytes = Readonly<Record<keyof ExpertBuffers, number>>;

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

/**
 * Says what a workspace for these layers takes.
 * @throws DeviceLimitError if a batch is too large for a buffer.
 * @throws UnsupportedModelError if the layers' heads are too large.
 */
export function planWorkspace(layers: readonly LayerDescription[], size: WorkspaceSize): WorkspacePlan {
  const { tokens, longest } = size;
  for (const { attention } of layers) checkHeadDim(attention);
  const rotaries = [...new Set(layers.flatMap(({ attention }) => attention.rotary ?? []))];
  const hidden = Math.max(...layers.map(({ attention }) => attention.output.rows));
  const qkv = Math.max(...layers.map(({ attention }) => qkvColumns(attention)));
  const inner = Math.max(...layers.flatMap(innerColumns));
  const normedBytes = checkedBytes("Hidden states", tokens, hidden, size);
  const qkvBytes = checkedBytes("Queries, keys and values", tokens, qkv, size);
  const mlpTokens = Math.min(tokens, size.mlpTokens ?? tokensOf(size.maxBufferBytes, inner));
  const innerBytes = checkedBytes("Inner values of the MLP", mlpTokens, inner, size);
  const scratchBytes = Math.max(qkvBytes, innerBytes);
  const experts = expertBytes(layers, mlpTokens, hidden);
  const tables = rotaries.map((rotary) => rotaryTableBytes(rotary, longest));
  const parts = [normedBytes, scratchBytes, ...Object.values(experts ?? {}), ...tables];
  const bytes = parts.reduce((sum, each) => sum + bufferBytes(each), 0);
  return {
    size,
    mlpTokens,
    normedBytes,
    scratchBytes,
    experts,
    rotaries,
    bytes: bytes + (experts ? ringBytes(readbackSize(experts)) : 0),
  };
}

function expertBytes(
  layers: readonly LayerDescription[],
  tokens: number,
  hidden: number,
): ExpertBytes | null {
  const blocks = layers.flatMap(({ feedForward }) => (feedForward.kind === "experts" ? [feedForward] : []));
  if (blocks.length === 0) return null;
  const router = Math.max(...blocks.map(({ experts }) => Math.ceil(experts.length / 4) * 4));
  const topK = Math.max(...blocks.map((block) => block.topK));
  return {
    logits: tokens * router * FLOAT_BYTES,
    routes: tokens * topK * 8,
    order: tokens * topK * 4,
    input: tokens * hidden * FLOAT_BYTES,
    output: tokens * hidden * FLOAT_BYTES,
    gate: tokens * 4 * FLOAT_BYTES,
  };
}

/** Routes come to the host to be sorted. */
function readbackSize({ routes }: ExpertBytes): RingSize {
  return { pieceBytes: routes, pieces: 1 };
}

/** Columns that gate and up projections of a layer's MLPs fill. */
function innerColumns({ feedForward }: LayerDescription): number[] {
  return (feedForward.kind === "mlp" ? [feedForward] : mlpsOf(feedForward)).map(mlpColumns);
}

export function mlpColumns({ inputs, intermediateSize }: Mlp): number {
  return inputs.kind === "plain" ? intermediateSize : 2 * intermediateSize;
}

function tokensOf(bytes: number, columns: number): number {
  const tokens = Math.floor(bytes / (columns * FLOAT_BYTES));
  return tokens >= TOKEN_MULTIPLE ? Math.floor(tokens / TOKEN_MULTIPLE) * TOKEN_MULTIPLE : tokens;
}

function checkedBytes(what: string, tokens: number, columns: number, size: WorkspaceSize): number {
  const bytes = tokens * columns * FLOAT_BYTES;
  if (bytes <= size.maxBufferBytes && tokens > 0) return bytes;
  throw new DeviceLimitError(
    `${what} of ${tokens} tokens with ${columns} values each need a buffer of ${formatBytes(bytes)}; this GPU binds ${formatBytes(size.maxBufferBytes)} at once. Batches of at most ${tokensOf(size.maxBufferBytes, columns)} tokens would do: set max_seq_length accordingly.`,
  );
}

/** Allocates what the plan says. */
export async function createWorkspace(
  gpu: Gpu,
  uploads: UploadRing,
  plan: WorkspacePlan,
): Promise<Workspace> {
  const lifetime = createLifetime();
  try {
    const buffers = await createBuffers(gpu, uploads, plan, lifetime);
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
      [Symbol.dispose]: () => lifetime[Symbol.dispose](),
    };
  } catch (error) {
    lifetime[Symbol.dispose]();
    throw error;
  }
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
  return buffers;
}
