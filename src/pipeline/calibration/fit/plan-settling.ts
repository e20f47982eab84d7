// Where a layer's weights and its Hessians do not fit the GPU together: modules come to the GPU to be quantized, and stay there for
// the samples to be propagated through. Each Hessian that was used makes room for more of them, so that the largest one comes
// first. Tiles are as large as leaves room for that: one that is half as large costs less than a weight that goes and comes back.

import { hessianBytes } from "../../../calibrate/hessians.ts";
import { ofModules } from "../../../model/by-module.ts";
import type { Capture } from "../../../model/layer-linears.ts";
import { hasPlainRows, vectorBytes } from "../../../onload/layer-weights.ts";
import { residentBytes } from "../../../onload/residency.ts";
import type { QuantizerTask } from "../../../quantize/quantizer.ts";
import { byQuantizer } from "../../../quantize/quantizers.ts";
import { tileRowMultiple } from "../../../quantize/rtn/tile-buffers.ts";
import type { CalibratedLayer } from "../layers/calibrated-layer.ts";
import { type GpuLimits, overlapBytes } from "../costs/calibration-memory.ts";
import type { SettlingSchedule, SettlingTurn } from "./layer-schedule.ts";

/** What tiles are divided by in turn. Smaller ones leave most of a GPU idle. */
const DIVISORS = [1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4] as const;

export interface Settled {
  readonly schedule: SettlingSchedule;
  /** The most that the layer then takes, beside what lives through the whole job. */
  readonly peak: number;
}

/** A layer's only pass as it is without weights that settle. */
export interface UnsettledPass {
  readonly captures: readonly Capture[];
  /** Rows of tiles where weights come from host memory and go back, one module after the other. */
  readonly tileRows: ReadonlyMap<string, number>;
  /** The most that the layer takes at any time. */
  readonly peak: number;
}

/**
 * The inputs of a layer's only pass in the order in which they are quantized, the largest Hessian first.
 * @returns null where not all of its modules would stay, or where weights are not quantized all at once, as they lie, and for one result alone
 */
export function planSettling(
  layer: CalibratedLayer,
  { captures: pass, tileRows: alone, peak }: UnsettledPass,
  limits: GpuLimits,
): Settled | null {
  if (!isAlone(layer, pass)) return null;
  const { maxBufferBytes } = limits;
  const order = pass.toSorted((a, b) => b.columns - a.columns);
  const hessians = order.map((capture) => hessianBytes([capture], maxBufferBytes));
  const weights = order.flatMap(({ modules }) => weightsOf(layer, modules, maxBufferBytes));
  for (const divisor of DIVISORS) {
    const tileRows = dividedTiles(layer, order, alone, divisor);
    const beside = overlapBytes(layer, order, { tileRows });
    const found = settle(layer, { order, weights, beside, hessians, peak }, limits);
    if (found) return { schedule: { turns: found.turns, tileRows }, peak: found.peak };
  }
  return null;
}

interface Weight {
  readonly module: string;
  readonly bytes: number;
}

/** Inputs in their order, and what their turns take. */
interface Turns {
  readonly order: readonly Capture[];
  /** Those of their modules, in the order in which they come. */
  readonly weights: readonly Weight[];
  /** Bytes of each input's Hessian. */
  readonly hessians: readonly number[];
  /** What all turns take beside weights and Hessians. */
  readonly beside: number;
  /** What is taken anyway, so that modules may come ahead of their turn. */
  readonly peak: number;
}

/** Has modules come as soon as that costs nothing; null if one would not be there when it is quantized. */
function settle(
  layer: CalibratedLayer,
  { order, weights, hessians, beside, peak: reached }: Turns,
  { budgetBytes }: GpuLimits,
): (Pick<SettlingSchedule, "turns"> & Pick<Settled, "peak">) | null {
  let held = vectorBytes(layer.vectors.map(({ elements }) => elements));
  let [peak, come, wanted] = [reached, 0, 0];
  const turns: SettlingTurn[] = [];
  for (const [index, capture] of order.entries()) {
    const taken = beside + sum(hessians.slice(index));
    const brings: string[] = [];
    wanted += capture.modules.length;
    for (let next = weights[come]; next; next = weights[++come]) {
      const bytes = taken + held + next.bytes;
      if (bytes > (come < wanted ? budgetBytes : peak)) break;
      held += next.bytes;
      peak = Math.max(peak, bytes);
      brings.push(next.module);
    }
    if (come < wanted) return null;
    turns.push({ capture, brings });
  }
  return { turns, peak };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Rows of the modules' tiles if the largest of them has so many times fewer elements: whole parts of each module. */
function dividedTiles(
  { tasks }: CalibratedLayer,
  captures: readonly Capture[],
  tileRows: ReadonlyMap<string, number>,
  divisor: number,
): Map<string, number> {
  const own = ofModules(
    tasks,
    captures.flatMap(({ modules }) => modules),
  );
  const planned = (task: QuantizerTask) => tileRows.get(task.module) ?? 1;
  const most = Math.max(...own.map((task) => planned(task) * task.columns)) / divisor;
  return new Map(
    own.map((task) => {
      const multiple = tileRowMultiple(task);
      const parts = Math.ceil((task.rows * task.columns) / most);
      const rows = Math.ceil(task.rows / parts / multiple) * multiple;
      return [task.module, Math.min(rows, planned(task))];
    }),
  );
}

/** True if one quantizer takes all that is quantized from this pass, for no other result, and of weights whose rows have no padding. */
function isAlone(layer: CalibratedLayer, pass: readonly Capture[]): boolean {
  const quantized = new Set(pass.flatMap(({ modules }) => modules));
  return (
    layer.beside.length === 0 &&
    layer.drifting === null &&
    byQuantizer(layer.tasks).size === 1 &&
    layer.tasks.every(({ module }) => quantized.has(module)) &&
    layer.linears.every((linear) => hasPlainRows(linear, layer.dtypeOf(linear.source.tensor)))
  );
}

function weightsOf(layer: CalibratedLayer, modules: readonly string[], maxBufferBytes: number): Weight[] {
  return ofModules(layer.linears, modules).map((linear) => ({
    module: linear.module,
    bytes: residentBytes([linear], layer.dtypeOf, maxBufferBytes),
  }));
}
