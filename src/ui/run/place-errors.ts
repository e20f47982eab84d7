// Where the errors of modules stand in their chart: modules from left to right in the order of the work, errors from
// bottom to top on a logarithmic scale, because those of two modules may differ by a factor of a million.

import type { ModuleReport } from "../../api/compressor-api.ts";

export interface ChartPoint {
  readonly module: string;
  /** From the left, in percent of the width. */
  readonly x: number;
  /** From the top, in percent of the height. */
  readonly gptq: number;
  readonly rtn: number;
}

export interface ChartBand {
  readonly x: number;
  readonly width: number;
}

export interface ErrorChart {
  readonly points: readonly ChartPoint[];
  /** Every other layer, to tell neighbours apart. */
  readonly bands: readonly ChartBand[];
  readonly ticks: readonly { readonly exponent: number; readonly y: number }[];
}

/** More labels than these stand too close to be read. */
const MAX_TICKS = 6;

/** Number of the layer that a module belongs to, or null outside of the layers. */
function layerOf(module: string): number | null {
  const found = /\.(\d+)\./.exec(module);
  return found ? Number(found[1]) : null;
}

/** Places the reports; `layers` (0 where it is not known) leaves room for the layers that have yet to come. */
export function chartErrors(reports: readonly ModuleReport[], layers: number): ErrorChart {
  const scale = powerScale(reports.flatMap(({ loss, rtnLoss }) => [loss, rtnLoss]));
  const slots = Math.max(1, reports.length, layers * longestLayer(reports));
  const points = reports.map(({ module, loss, rtnLoss }, index) => ({
    module,
    x: ((index + 0.5) / slots) * 100,
    gptq: scale.place(loss),
    rtn: scale.place(rtnLoss),
  }));
  return { points, bands: oddLayers(reports, slots), ticks: scale.ticks };
}

function longestLayer(reports: readonly ModuleReport[]): number {
  const modules = new Map<number | null, number>();
  for (const { module } of reports) {
    const layer = layerOf(module);
    modules.set(layer, (modules.get(layer) ?? 0) + 1);
  }
  return Math.max(0, ...modules.values());
}

function oddLayers(reports: readonly ModuleReport[], slots: number): ChartBand[] {
  const bands = new Map<number, { start: number; end: number }>();
  for (const [index, { module }] of reports.entries()) {
    const layer = layerOf(module);
    if (layer === null || layer % 2 === 0) continue;
    bands.set(layer, { start: bands.get(layer)?.start ?? index, end: index + 1 });
  }
  return [...bands.values()].map(({ start, end }) => ({
    x: (start / slots) * 100,
    width: ((end - start) / slots) * 100,
  }));
}

/** A scale over whole powers of ten; what is zero, and has no power, stands at its bottom. */
function powerScale(values: readonly number[]) {
  const powers = values.filter((value) => value > 0 && Number.isFinite(value)).map(Math.log10);
  const low = powers.length > 0 ? Math.floor(Math.min(...powers)) : -1;
  const high = powers.length > 0 ? Math.max(low + 1, Math.ceil(Math.max(...powers))) : 0;
  const place = (value: number): number => {
    const power = value > 0 ? Math.min(Math.log10(value), high) : low;
    return ((high - power) / (high - low)) * 100;
  };
  const step = Math.ceil((high - low) / (MAX_TICKS - 1));
  const count = Math.floor((high - low) / step) + 1;
  const ticks = Array.from({ length: count }, (_, index) => {
    const exponent = low + index * step;
    return { exponent, y: place(10 ** exponent) };
  });
  return { place, ticks };
}
