// The GPU bytes of a calibrated job's phases, from the same functions that allocate them.

import { hessianBytes } from "../../calibrate/hessians.ts";
import { hiddenBytesPerToken, type HiddenDtype } from "../../calibrate/hidden-states.ts";
import { batchBytes } from "../../calibrate/forward/token-batch.ts";
import { planWorkspace, type WorkspacePlan } from "../../calibrate/forward/workspace.ts";
import type { SequenceBatch } from "../../calibrate/batches.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import { QUEUE_BYTES } from "../../gpu/paced-queue.ts";
import { type RingSize, ringBytes } from "../../gpu/staging.ts";
import { choleskyScratchBytes } from "../../gpu/triangular/cholesky.ts";
import type { Linear } from "../../model/decoder-description.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { vectorBytes } from "../../onload/layer-weights.ts";
import { fitResidency, onloadedBytes, type OnloadedBytes, type Residency } from "../../onload/residency.ts";
import { MATRIX_UNITS_BYTES } from "../../gpu/matmul/matmul-halves.ts";
import { gptqTileRows, gptqWorkspaceBytes } from "../../quantize/gptq/quantize-module.ts";
import { gptqTileBytes } from "../../quantize/gptq/quantize-tile.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";

/** What a calibrated job has to do. */
export interface CalibrationDemand {
  readonly layers: readonly CalibratedLayer[];
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
  readonly hidden: { readonly size: number; readonly dtype: HiddenDtype };
  /** Largest batch that a journal asks for, so that a resumed job adds its sums in the same order; null if none. */
  readonly maxTokens: number | null;
}

/** What is chosen so that the job fits. */
export interface CalibrationShape {
  readonly maxTokens: number;
  readonly mlpTokens: number;
  /** Weights that are not resident come in tiles of so many bytes. */
  readonly tileBytes: number;
  readonly ring: RingSize;
}

export interface GpuLimits {
  readonly budgetBytes: number;
  readonly maxBufferBytes: number;
}

/** What stands for a second panel while a Hessian is reordered. */
const PERMUTATION_BYTES = 16;
/** Tiles that take more GPU memory than this are no faster. */
const MAX_GPTQ_TILE_BYTES = 1024 ** 3;

/** Bytes of the hidden states of the largest batch, (tokens, hidden) float32. */
export function batchHiddenBytes(batches: readonly SequenceBatch[], hiddenSize: number): number {
  return Math.max(...batches.map(({ tokens }) => tokens)) * hiddenSize * 4;
}

/** Bytes that live through the whole job: queue, rings, workspace, the batch at work, all batches' positions. */
export function jobBytes(
  { layers, lengths, hidden }: CalibrationDemand,
  batches: readonly SequenceBatch[],
  shape: CalibrationShape,
  limits: GpuLimits,
): { bytes: number; workspace: WorkspacePlan } {
  const tokens = Math.max(...batches.map((batch) => batch.tokens));
  const workspace = planWorkspace(
    layers.map(({ description }) => description),
    {
      tokens,
      longest: Math.max(...lengths),
      maxBufferBytes: limits.maxBufferBytes,
      mlpTokens: shape.mlpTokens,
    },
  );
  const positions = batches.map(({ first, starts }) =>
    batchBytes(lengths.slice(first, first + starts.length - 1)),
  );
  const bytes =
    QUEUE_BYTES +
    2 * ringBytes(shape.ring) +
    workspace.bytes +
    bufferBytes(MATRIX_UNITS_BYTES) +
    bufferBytes(batchHiddenBytes(batches, hidden.size)) +
    (hidden.dtype === "BF16"
      ? bufferBytes(tokens * hiddenBytesPerToken({ hiddenSize: hidden.size, dtype: "BF16" }))
      : 0) +
    positions.reduce((sum, each) => sum + each, 0);
  return { bytes, workspace };
}

/** How a layer's weights lie on the GPU while samples run through it, and what they take. */
export interface OnloadPhase extends OnloadedBytes {
  readonly residency: Residency;
}

/** Makes the most of `freeBytes` for these of a layer's weights; null if they do not hold the smallest tiles. */
export function onloadPhase(
  layer: CalibratedLayer,
  linears: readonly Linear[],
  tileBytes: number,
  freeBytes: number,
  { maxBufferBytes }: GpuLimits,
): OnloadPhase | null {
  const { dtypeOf } = layer;
  const vectors = vectorBytes(layer.vectors.map(({ elements }) => elements));
  const residency = fitResidency(linears, dtypeOf, { bytes: freeBytes - vectors, tileBytes }, maxBufferBytes);
  if (!residency) return null;
  const onloaded = onloadedBytes(linears, dtypeOf, residency, maxBufferBytes);
  return { ...onloaded, residency, bytes: onloaded.bytes + vectors };
}

/** Scratch that factoring a Hessian of order n takes beside it, and that stays while its modules are quantized. */
function factorBytes(n: number): number {
  return choleskyScratchBytes(n) + bufferBytes(n * 4) + PERMUTATION_BYTES;
}

export interface QuantizePhase {
  readonly bytes: number;
  /** Rows of each module's tiles. */
  readonly tileRows: ReadonlyMap<string, number>;
  /** True if a copy of each Hessian, for a retry with more damping, fits on the GPU. */
  readonly backupOnGpu: boolean;
}

/** The quantizing phase of a pass; null if not even the smallest tiles fit in `freeBytes`. */
export function quantizePhase(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  freeBytes: number,
  limits: GpuLimits,
): QuantizePhase | null {
  const hessians = hessianBytes(pass, limits.maxBufferBytes);
  const tileRows = new Map<string, number>();
  let bytes = hessians;
  let backup = hessians;
  for (const capture of pass) {
    const fixed = hessians + factorBytes(capture.columns);
    backup = Math.max(backup, fixed + hessianBytes([capture], limits.maxBufferBytes));
    for (const task of layer.tasks.filter(({ module }) => capture.modules.includes(module))) {
      const room = Math.min(freeBytes - fixed, MAX_GPTQ_TILE_BYTES);
      const rows = gptqTileRows(task, room, limits.maxBufferBytes);
      const needed = fixed + gptqTileBytes(task, rows);
      if (needed > freeBytes) return null;
      tileRows.set(task.module, rows);
      bytes = Math.max(bytes, needed);
    }
  }
  const backupOnGpu = backup <= freeBytes;
  return { bytes: backupOnGpu ? Math.max(bytes, backup) : bytes, tileRows, backupOnGpu };
}

/**
 * What the quantizing phase of a pass takes beside weights and Hessians if one module's codes are read back while the next
 * is computed, and the next Hessian is factored meanwhile.
 */
export function overlapBytes(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  { tileRows, backupOnGpu }: Pick<QuantizePhase, "tileRows" | "backupOnGpu">,
  { maxBufferBytes }: GpuLimits,
): number {
  const factoring = pass.map(
    (capture) => factorBytes(capture.columns) + (backupOnGpu ? hessianBytes([capture], maxBufferBytes) : 0),
  );
  const tiled = layer.tasks.flatMap((task) => {
    const rows = tileRows.get(task.module);
    return rows === undefined ? [] : [{ task, tileRows: rows }];
  });
  return Math.max(0, ...factoring) + gptqWorkspaceBytes(tiled, 2);
}
