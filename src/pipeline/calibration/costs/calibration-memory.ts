// The GPU bytes of a calibrated job's phases, from the same functions that allocate them.

import { driftBytes, keptInputBytes, keptInputs } from "../../../calibrate/drifts/input-drifts.ts";
import { hessianBytes } from "../../../calibrate/hessians.ts";
import { hiddenBytesPerToken, type HiddenDtype } from "../../../calibrate/hidden-states.ts";
import { batchBytes } from "../../../calibrate/forward/token-batch.ts";
import { type WorkspacePlan } from "../../../calibrate/forward/workspace.ts";
import { mostTokens, type SequenceBatch } from "../../../calibrate/batches.ts";
import { bufferBytes } from "../../../gpu/memory.ts";
import { QUEUE_BYTES } from "../../../gpu/queue/paced-queue.ts";
import { readbackRingBytes } from "../../../gpu/staging/readback-ring.ts";
import { type RingSize, ringBytes } from "../../../gpu/staging/ring-pieces.ts";
import { ofModules } from "../../../model/by-module.ts";
import { type Capture, linearsBeforeOutput } from "../../../model/layer-linears.ts";
import { vectorBytes } from "../../../onload/layer-weights.ts";
import {
  fitResidency,
  onloadedBytes,
  type OnloadedBytes,
  type Residency,
} from "../../../onload/residency.ts";
import { MATRIX_UNITS_BYTES } from "../../../gpu/matmul/matmul-halves.ts";
import type { QuantizePhase } from "../../../quantize/quantizer.ts";
import { byQuantizer, wantsHessian } from "../../../quantize/quantizers.ts";
import { type CalibratedLayer, driftingIn, sharesOf } from "../layers/calibrated-layer.ts";
import { planWorkspace } from "../../../calibrate/forward/plan-workspace.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { greatestOf } from "../../../greatest-of.ts";

/** The hidden states of a job. */
export interface HiddenDemand {
  readonly size: number;
  readonly dtype: HiddenDtype;
  /** 2 if samples run through the original model, too, beside what is made of it. */
  readonly streams: 1 | 2;
}

/** What a calibrated job has to do. */
export interface CalibrationDemand {
  readonly layers: readonly CalibratedLayer[];
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
  readonly hidden: HiddenDemand;
  /** The largest batch may have so many tokens, or one cell of the samples (`sampleCells`); null for as many as are best. */
  readonly maxTokens: number | null;
  /** Batches to keep to where they fit, so that sums are added in the same order; null for those that cost least. */
  readonly like: Batching | null;
}

/** How many tokens are to be computed at once; a batch has a cell of the samples at least. */
export interface Batching {
  readonly maxTokens: number;
  readonly mlpTokens: number;
}

/** What is chosen so that the job fits. */
export interface CalibrationShape extends Batching {
  /** Weights that are not resident come in tiles of so many bytes. */
  readonly tileBytes: number;
  /** From the host to the GPU. */
  readonly ring: RingSize;
  /** The way back. */
  readonly readbackRing: RingSize;
}

export interface GpuLimits {
  readonly budgetBytes: number;
  readonly maxBufferBytes: number;
  /** What layers and hidden states may take of the page's memory; as much as a browser gives if absent. */
  readonly hostBytes?: number;
  /** Hessians of one input that are held at once while samples run; 1 if absent. */
  readonly sums?: number;
  /** True if forward products can run on matrix units; false if absent. */
  readonly hasMatrixUnits?: boolean;
  /** True if a layer may be quantized while samples run through the next one; it is where there is room for both. */
  readonly sideBySide?: boolean;
  /** Tokens of the largest batch, whose inputs are kept where their drift is collected. */
  readonly batchTokens?: number;
}

/** Bytes of the hidden states of the largest batch, (tokens, hidden) float32. */
export function batchHiddenBytes(batches: readonly SequenceBatch[], hiddenSize: number): number {
  return mostTokens(batches) * hiddenSize * 4;
}

/** Bytes that live through the whole job: queue, rings, workspace, the batch at work, all batches' positions. */
export function jobBytes(
  { layers, lengths, hidden }: CalibrationDemand,
  batches: readonly SequenceBatch[],
  shape: CalibrationShape,
  limits: GpuLimits,
): { bytes: number; workspace: WorkspacePlan } {
  const tokens = mostTokens(batches);
  const workspace = planWorkspace(
    layers.map(({ description }) => description),
    {
      tokens,
      longest: greatestOf(lengths),
      maxBufferBytes: limits.maxBufferBytes,
      mlpTokens: shape.mlpTokens,
    },
  );
  const positions = batches.map(({ first, starts }) =>
    batchBytes(lengths.slice(first, first + starts.length - 1)),
  );
  const bytes =
    QUEUE_BYTES +
    ringBytes(shape.ring) +
    readbackRingBytes(shape.readbackRing) +
    workspace.bytes +
    bufferBytes(MATRIX_UNITS_BYTES) +
    hidden.streams * bufferBytes(batchHiddenBytes(batches, hidden.size)) +
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

/** A pass that collects Hessians, with all Linears if it goes on to the layer's output; null if it does not fit. */
export function calibratePhase(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  tileBytes: number,
  limits: GpuLimits,
  linears = linearsBeforeOutput(layer.description),
): OnloadPhase | null {
  const hessians = hessianBytes(pass, limits.maxBufferBytes) * (limits.sums ?? 1);
  const onload = onloadPhase(layer, linears, tileBytes, limits.budgetBytes - hessians, limits);
  return onload && { ...onload, bytes: onload.bytes + hessians };
}

/** A pass that collects for quantizers, with all Linears if it goes on to the layer's output; null if it does not fit. */
export function collectPhase(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  tileBytes: number,
  limits: GpuLimits,
  leaves = false,
): OnloadPhase | null {
  const drifts = collectedDriftBytes(layer, pass, limits);
  if (drifts === null) return null;
  const beside = { ...limits, budgetBytes: limits.budgetBytes - drifts };
  // The original model's samples leave the layer in its last pass.
  const linears = leaves || layer.drifting ? layer.linears : linearsBeforeOutput(layer.description);
  const onload = calibratePhase(layer, pass, tileBytes, beside, linears);
  return onload && { ...onload, bytes: onload.bytes + drifts };
}

/** Drifts of a pass, and the inputs of a batch that they are made of; null where no buffer holds such inputs. */
export function collectedDriftBytes(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  { maxBufferBytes, batchTokens = 0 }: GpuLimits,
): number | null {
  const drifting = driftingIn(layer, pass);
  if (keptInputs(drifting, batchTokens).some((bytes) => bytes > maxBufferBytes)) return null;
  return driftBytes(drifting, maxBufferBytes) + keptInputBytes(drifting, batchTokens);
}

/** The Hessians and drifts of a pass. Each result but the last factors a copy of the Hessians, one after the other. */
export function statisticsBytes(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  { maxBufferBytes }: Pick<GpuLimits, "maxBufferBytes">,
): number {
  const read = new Set(pass.flatMap(({ modules }) => modules));
  const users = sharesOf(layer).filter(({ tasks }) =>
    tasks.some((task) => read.has(task.module) && wantsHessian(task)),
  );
  const drifts = driftBytes(driftingIn(layer, pass), maxBufferBytes);
  return hessianBytes(pass, maxBufferBytes) * (users.length > 1 ? 2 : 1) + drifts;
}

/** The quantizing phase of a pass; null if not even the smallest tiles fit in `freeBytes`. */
export function quantizePhase(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  freeBytes: number,
  { maxBufferBytes }: GpuLimits,
): QuantizePhase | null {
  const statistics = statisticsBytes(layer, pass, { maxBufferBytes });
  const tileRows = new Map<string, number>();
  let bytes = 0;
  for (const [quantizer, own] of sharesOf(layer).flatMap(({ tasks }) => [...byQuantizer(tasks)])) {
    const phase = quantizer.phase(own, pass, { freeBytes: freeBytes - statistics, maxBufferBytes });
    if (!phase) return null;
    bytes = Math.max(bytes, phase.bytes);
    for (const [module, rows] of phase.tileRows)
      tileRows.set(module, Math.min(rows, tileRows.get(module) ?? rows));
  }
  return { bytes: statistics + bytes, tileRows };
}

/**
 * What the quantizing phase of a pass takes beside weights and statistics if one module's codes are read back while the next
 * is computed.
 */
export function overlapBytes(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  phase: Pick<QuantizePhase, "tileRows">,
): number {
  const read = pass.flatMap(({ modules }) => modules);
  const quantizers = sharesOf(layer).flatMap(({ tasks }) => [...byQuantizer(ofModules(tasks, read))]);
  const bytes = quantizers.map(([quantizer, own]) => quantizer.overlapBytes(own, pass, phase));
  return Math.max(0, ...bytes);
}
