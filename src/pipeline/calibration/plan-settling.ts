// Where a layer's weights and its Hessians do not fit the GPU together: modules come to the GPU to be quantized, input by input,
// and stay there for the samples to be propagated through. Each Hessian that was used makes room for more of them.

import { hessianBytes } from "../../calibrate/hessians.ts";
import { type RingSize, ringBytes } from "../../gpu/staging.ts";
import { ofModules } from "../../model/by-module.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { hasPlainRows, vectorBytes } from "../../onload/layer-weights.ts";
import { residentBytes } from "../../onload/residency.ts";
import type { QuantizePhase } from "../../quantize/quantizer.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import { type GpuLimits, overlapBytes } from "./calibration-memory.ts";
import type { SettlingTurn } from "./layer-schedule.ts";

/** Pieces on their way to the GPU at once: each waits for what the GPU was given before it. */
export const SETTLING_PIECES = 8;

/** The ring through which weights come while others are quantized; null if the job's own will do. */
export function settlingRing({ pieceBytes, pieces }: RingSize): RingSize | null {
  return pieces < SETTLING_PIECES ? { pieceBytes, pieces: SETTLING_PIECES } : null;
}

interface Settled {
  readonly turns: readonly SettlingTurn[];
  /** GPU bytes at the worst, beside what lives through the whole job. */
  readonly peak: number;
}

/**
 * The inputs of a layer's only pass in the order in which they are quantized, the largest Hessian first.
 * @param quantize the phase in which weights come from host memory and go back, one module after the other
 * @returns null where no module would stay, or where weights are not quantized all at once, as they lie, and for one result alone
 */
export function planSettling(
  layer: CalibratedLayer,
  pass: readonly Capture[],
  quantize: QuantizePhase,
  ring: RingSize,
  limits: GpuLimits,
): Settled | null {
  if (!isAlone(layer, pass)) return null;
  const { maxBufferBytes } = limits;
  const apart = settlingRing(ring);
  const ringsBytes = apart ? ringBytes(apart) : 0;
  const room = limits.budgetBytes - ringsBytes;
  const order = pass.toSorted((a, b) => b.columns - a.columns);
  let hessians = hessianBytes(pass, maxBufferBytes);
  const beside = quantize.bytes - hessians;
  let held = vectorBytes(layer.vectors.map(({ elements }) => elements));
  let peak = 0;
  let brought: Capture | null = null;
  const turns: SettlingTurn[] = [];
  let besideNext = overlapBytes(layer, order.slice(0, 1), quantize);
  for (const [index, capture] of order.entries()) {
    const own: number = brought === capture ? 0 : weightBytes(layer, capture, maxBufferBytes);
    const settled = hessians + held + own + besideNext;
    const settles = settled <= room;
    const brings = settles && own > 0 ? [capture] : [];
    if (settles) held += own;
    let bytes = settles ? settled : hessians + held + beside;
    if (bytes > room) return null;
    const next = order[index + 1] ?? null;
    const coming = next ? weightBytes(layer, next, maxBufferBytes) : 0;
    hessians -= hessianBytes([capture], maxBufferBytes);
    besideNext = overlapBytes(layer, next ? [next] : [], quantize);
    const later = hessians + held + coming + besideNext;
    brought = Math.max(bytes + coming, later) <= room ? next : null;
    if (brought) {
      brings.push(brought);
      bytes += coming;
      held += coming;
    }
    peak = Math.max(peak, bytes);
    turns.push({ capture, settles, brings: brings.flatMap(({ modules }) => modules) });
  }
  if (!turns.some(({ settles }) => settles)) return null;
  return { turns, peak: peak + ringsBytes };
}

/** True if all that is quantized is quantized in this pass, for no other result, and of weights whose rows have no padding. */
function isAlone(layer: CalibratedLayer, pass: readonly Capture[]): boolean {
  const quantized = new Set(pass.flatMap(({ modules }) => modules));
  return (
    layer.beside.length === 0 &&
    layer.drifting === null &&
    layer.tasks.every(({ module }) => quantized.has(module)) &&
    layer.linears.every((linear) => hasPlainRows(linear, layer.dtypeOf(linear.source.tensor)))
  );
}

function weightBytes(layer: CalibratedLayer, { modules }: Capture, maxBufferBytes: number): number {
  return residentBytes(ofModules(layer.linears, modules), layer.dtypeOf, maxBufferBytes);
}
