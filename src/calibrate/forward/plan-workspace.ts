// What the buffers of a forward pass take, said before anything is allocated, so that the plan knows the job's peak.

import { DeviceLimitError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import { readbackRingBytes } from "../../gpu/staging/readback-ring.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import { mlpsOf } from "../../model/layer-linears.ts";
import { forwardOf } from "./mixers/forward-of.ts";
import { rotaryTableBytes } from "./rotary/rotary-table.ts";
import { type WorkspacePlan, readbackSize, type ExpertBytes, type WorkspaceSize } from "./workspace.ts";
import { mlpColumns } from "./mlp-block.ts";
import { tokenBlockColumns } from "./token-block.ts";

const FLOAT_BYTES = 4;
/** Runs of tokens are cut at whole tiles of the matrix product. */
const TOKEN_MULTIPLE = 64;

/**
 * Says what a workspace for these layers takes.
 * @throws DeviceLimitError if a batch is too large for a buffer.
 * @throws UnsupportedModelError if a mixer's sizes are larger than its kernels take.
 */
export function planWorkspace(layers: readonly LayerDescription[], size: WorkspaceSize): WorkspacePlan {
  const { tokens, longest } = size;
  const mixers = layers.flatMap((layer) => layer.mixers.map(forwardOf));
  for (const mixer of mixers) mixer.check();
  const rotaries = [...new Set(mixers.flatMap(({ rotary }) => rotary ?? []))];
  const hidden = Math.max(...layers.map(({ hiddenSize }) => hiddenSize));
  const inner = Math.max(0, ...layers.flatMap(innerColumns));
  const normed = Math.max(hidden, ...mixers.map((mixer) => mixer.normed ?? 0));
  const normedBytes = checkedBytes("Hidden states", tokens, normed, size);
  const [widest] = mixers.map(({ scratch }) => scratch).toSorted((a, b) => b.columns - a.columns);
  const mixerBytes = widest ? checkedBytes(widest.what, tokens, widest.columns, size) : 0;
  const mlpTokens = Math.min(tokens, size.mlpTokens ?? tokensOf(size.maxBufferBytes, inner));
  const innerBytes = checkedBytes("Inner values of the MLP", mlpTokens, inner, size);
  const scratchBytes = Math.max(mixerBytes, innerBytes);
  const experts = expertBytes(layers, mlpTokens, hidden);
  const tables = rotaries.map((rotary) => rotaryTableBytes(rotary, longest));
  const parts = [normedBytes, scratchBytes, ...Object.values(experts ?? {}), ...tables];
  const bytes = parts.reduce((sum, each) => sum + (each > 0 ? bufferBytes(each) : 0), 0);
  return {
    size,
    mlpTokens,
    normedBytes,
    scratchBytes,
    experts,
    rotaries,
    bytes: bytes + (experts ? readbackRingBytes(readbackSize(experts)) : 0),
  };
}

function expertBytes(
  layers: readonly LayerDescription[],
  tokens: number,
  hidden: number,
): ExpertBytes | null {
  const blocks = layers.flatMap(({ feedForward }) => (feedForward?.kind === "experts" ? [feedForward] : []));
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
    sum: hasNormedExperts(layers) ? tokens * hidden * FLOAT_BYTES : 0,
  };
}

function hasNormedExperts(layers: readonly LayerDescription[]): boolean {
  return layers.some(
    ({ feedForward, norms }) => feedForward?.kind === "experts" && norms.feedForwardOutput !== null,
  );
}

/** Columns that the blocks after a layer's mixers fill. */
function innerColumns({ feedForward, tokenBlock }: LayerDescription): number[] {
  const fed = feedForward === null ? [] : mlpsOf(feedForward).map(mlpColumns);
  return tokenBlock ? [...fed, tokenBlockColumns(tokenBlock)] : fed;
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
