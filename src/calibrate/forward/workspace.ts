// The buffers that a forward pass writes, made once a job. What they take is said before anything is allocated, so that
// the plan knows the job's peak. Attention and feed-forward take turns in the same scratch buffer.

import { DeviceLimitError, invariant } from "../../errors.ts";
import { formatBytes } from "../../formats/format-bytes.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { UploadRing } from "../../gpu/staging.ts";
import type { LayerDescription, Mlp, Rotary } from "../../model/decoder-description.ts";
import { mlpsOf } from "../../model/layer-linears.ts";
import { checkHeadDim, qkvColumns } from "./attention/attend.ts";
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
  readonly rotaries: readonly Rotary[];
  /** GPU bytes of the whole workspace. */
  readonly bytes: number;
}

export interface Workspace extends Disposable {
  readonly plan: WorkspacePlan;
  /** (tokens, hidden): a block's input, and its output where that is normed before it joins the residual. */
  readonly normed: LedgerBuffer;
  readonly scratch: LedgerBuffer;
  rotaryTable(rotary: Rotary): RotaryTable;
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
  const tables = rotaries.map((rotary) => rotaryTableBytes(rotary, longest));
  const bytes = [normedBytes, scratchBytes, ...tables].reduce((sum, each) => sum + bufferBytes(each), 0);
  return { size, mlpTokens, normedBytes, scratchBytes, rotaries, bytes };
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
  const [normed, scratch] = await gpu.memory.allocateAll([
    { label: "normed hidden states", bytes: plan.normedBytes },
    { label: "forward scratch", bytes: plan.scratchBytes },
  ]);
  const tables = new Map<Rotary, RotaryTable>();
  const workspace: Workspace = {
    plan,
    normed,
    scratch,
    rotaryTable(rotary) {
      const table = tables.get(rotary);
      invariant(table, "the workspace was planned for this layer");
      return table;
    },
    [Symbol.dispose]() {
      normed[Symbol.dispose]();
      scratch[Symbol.dispose]();
      for (const table of tables.values()) table[Symbol.dispose]();
    },
  };
  try {
    for (const rotary of plan.rotaries) {
      tables.set(rotary, await createRotaryTable(gpu, uploads, rotary, plan.size.longest));
    }
  } catch (error) {
    workspace[Symbol.dispose]();
    throw error;
  }
  return workspace;
}
