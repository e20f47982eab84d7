// A job into ranges of layers that come to about the same work.

import type { LayerCost, PartCosts } from "../../src/api/compressor-api.ts";
import { formatBytes } from "../../src/formats/format-bytes.ts";

/** A part as `--layers` takes it, and what it costs. */
export interface DividedPart {
  readonly layers: string;
  /** Of the source's weights. */
  readonly bytes: number;
  /** Of samples, statistics and the choice of codes; 0 where nothing is calibrated. */
  readonly operations: number;
}

export interface Division {
  /** The decoder's layers. */
  readonly layers: number;
  /** What the ranges were made equal in. */
  readonly by: "operations" | "bytes";
  /** Batches of samples: as many shares can they be cut into; 0 where nothing is calibrated. */
  readonly batches: number;
  /** False where ranges cannot be done apart, and samples have to be shared. */
  readonly independent: boolean;
  /** Ranges in order, the rest behind them. */
  readonly parts: readonly DividedPart[];
}

/**
 * Cuts a job into ranges whose dearest is as cheap as can be; into fewer than are asked for where there are fewer layers.
 * What belongs to no layer is one more part: it is copied, which takes little but bytes.
 */
export function divideJob({ layers, restBytes, batches, independent }: PartCosts, parts: number): Division {
  const by = layers.some(({ operations }) => operations > 0) ? "operations" : "bytes";
  const costs = layers.map((layer) => layer[by]);
  const ends = cuts(costs, Math.min(parts, layers.length));
  const ranges = ends.map((end, index) => {
    const first = ends[index - 1] ?? 0;
    const own = layers.slice(first, end);
    const layersOf = `${first}..${end - 1}`;
    return { layers: layersOf, bytes: sum(own, "bytes"), operations: sum(own, "operations") };
  });
  const rest = { layers: "rest", bytes: restBytes, operations: 0 };
  return { layers: layers.length, by, batches, independent, parts: [...ranges, rest] };
}

function sum(layers: readonly LayerCost[], what: "bytes" | "operations"): number {
  return layers.reduce((total, layer) => total + layer[what], 0);
}

/** Where each of `parts` ranges ends, the costliest as cheap as can be: by trying what the costliest may cost. */
function cuts(costs: readonly number[], parts: number): number[] {
  let low = Math.max(0, ...costs);
  let high = costs.reduce((total, cost) => total + cost, 0);
  while (high - low > high * 1e-6) {
    const middle = (low + high) / 2;
    if (fill(costs, middle, parts).length <= parts) high = middle;
    else low = middle;
  }
  return fill(costs, high, parts);
}

/** Ends of ranges that cost at most so much each; each leaves a layer for every range after it. */
function fill(costs: readonly number[], most: number, parts: number): number[] {
  const ends: number[] = [];
  let spent = 0;
  for (const [index, cost] of costs.entries()) {
    const wanted = parts - ends.length - 1;
    const scarce = wanted > 0 && costs.length - index <= wanted;
    if (index > (ends.at(-1) ?? 0) && (spent + cost > most || scarce)) {
      ends.push(index);
      spent = 0;
    }
    spent += cost;
  }
  return costs.length > 0 ? [...ends, costs.length] : [];
}

/** A line for each part. */
export function divisionLines({ parts, by }: Division): string[] {
  const total = parts.reduce((all, part) => all + part[by], 0);
  return parts.map(({ layers, bytes, ...part }) => {
    const share = total > 0 ? (100 * { bytes, ...part }[by]) / total : 0;
    return `--layers ${layers.padEnd(10)} ${formatBytes(bytes).padStart(10)} of weights, ${share.toFixed(1)} % of the work`;
  });
}
