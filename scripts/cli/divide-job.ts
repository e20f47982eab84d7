// A job into ranges of layers that end at about the same time.

import type { LayerCost, PartCosts } from "../../src/api/compressor-api.ts";
import { formatBytes } from "../../src/formats/text/format-bytes.ts";
import { cutLayers, dearest, type LayerRange, rangeSeconds } from "./cut-layers.ts";

/** A part as `--layers` takes it, and what it costs. */
export interface DividedPart {
  readonly layers: string;
  /** Of the source's weights that it writes. */
  readonly bytes: number;
  /** Of samples, statistics and the choice of codes in the layers that it writes; 0 where nothing is calibrated. */
  readonly operations: number;
  /** Predicted for a GPU of a data centre, with the layers that its samples pass, without a browser's start. */
  readonly seconds: number;
}

export interface Division {
  /** The decoder's layers. */
  readonly layers: number;
  /** What layers cost: bytes alone where nothing is calibrated. */
  readonly by: "operations" | "bytes";
  /** Batches of samples: as many shares can they be cut into; 0 where nothing is calibrated. */
  readonly batches: number;
  /** False where ranges cannot be done apart, and samples have to be shared. */
  readonly independent: boolean;
  /** Why they cannot, as a sentence; null where they can. */
  readonly dependence: string | null;
  /** Shares that the samples can be cut into at most; 0 where the recipe does not share them. */
  readonly shares: number;
  /**
   * Layers in front of which a first pass is to leave hidden states, which is then sooner done than that each range brings its
   * samples there itself; none where it is not.
   */
  readonly statesAt: readonly number[];
  /** Ranges in order, the rest behind them. */
  readonly parts: readonly DividedPart[];
}

/** A browser's start, a plan, kernels, rows of the embedding: what a command takes before its first layer, with an H200. */
const START_SECONDS = 8;
/** Hidden states into OPFS and from there into a file, or the other way, with an H200: 4.3 GB in some twelve seconds. */
const STATES_BYTES_PER_SECOND = 350e6;

/**
 * Cuts a job into ranges whose dearest is as cheap as can be; into fewer than are asked for where there are fewer layers. What belongs to no layer is one more part: it is copied, which takes little but bytes.
 * @param costs what the plan says
 * @param parts ranges that are asked for, each on a GPU of its own
 */
export function divideJob(costs: PartCosts, parts: number): Division {
  const { layers, restBytes, batches, dependence, shares } = costs;
  const by = layers.some(({ operations }) => operations > 0) ? "operations" : "bytes";
  const { ranges, costOf, statesAt } = chooseWay(costs, parts);
  const divided = ranges.map((range): DividedPart => {
    const own = layers.slice(range.first, range.end);
    const layersOf = `${range.first}..${range.end - 1}`;
    return {
      layers: layersOf,
      bytes: sum(own, "bytes"),
      operations: sum(own, "operations"),
      seconds: costOf(range),
    };
  });
  const rest = { layers: "rest", bytes: restBytes, operations: 0, seconds: 0 };
  const independent = dependence === null;
  const facts = { layers: layers.length, by, batches, independent, dependence, shares } as const;
  return { ...facts, statesAt, parts: [...divided, rest] };
}

interface Way {
  readonly ranges: readonly LayerRange[];
  readonly costOf: (range: LayerRange) => number;
  readonly statesAt: readonly number[];
}

/** Ranges that bring their samples to their first layer, or that begin with states of a pass that all workers share. */
function chooseWay({ layers, batches, statesBytes, dependence }: PartCosts, parts: number): Way {
  const passing = rangeSeconds(layers, true);
  const own = { ranges: cutLayers(layers.length, parts, passing), costOf: passing, statesAt: [] };
  if (dependence !== null || batches === 0 || parts === 1) return own;
  const begun = rangeSeconds(layers, false);
  const ranges = cutLayers(layers.length, parts, begun);
  const statesAt = ranges.slice(1).map(({ first }) => first);
  const last = statesAt.at(-1) ?? 0;
  const shares = Math.min(parts, batches);
  // Each share needs the weights of all layers, for however few samples.
  const pass = layers
    .slice(0, last)
    .reduce((total, layer) => total + Math.max(layer.passedSeconds / shares, layer.comingSeconds), 0);
  const moving = statesBytes / STATES_BYTES_PER_SECOND;
  const before = START_SECONDS + pass + (moving * statesAt.length) / shares + moving;
  const isSooner = before + dearest(ranges, begun) < dearest(own.ranges, passing);
  return isSooner ? { ranges, costOf: begun, statesAt } : own;
}

function sum(layers: readonly LayerCost[], what: "bytes" | "operations"): number {
  return layers.reduce((total, layer) => total + layer[what], 0);
}

/** A line for each part, behind one for the pass that they need, or one that says why they cannot be made. */
export function divisionLines({ dependence, parts, statesAt }: Division): string[] {
  const total = parts.reduce((all, { seconds }) => all + seconds, 0);
  const lines = parts.map(({ layers, bytes, seconds }) => {
    const share = total > 0 ? (100 * seconds) / total : 0;
    return `--layers ${layers.padEnd(10)} ${formatBytes(bytes).padStart(10)} of weights, ${share.toFixed(1)} % of the work`;
  });
  const ranges = parts.filter(({ layers }) => layers !== "rest");
  if (dependence !== null && ranges.length > 1) return [dependence, ...lines];
  if (statesAt.length === 0) return lines;
  return [
    `--states-at ${statesAt.join(",")} first, for --from-states of the ranges behind the first one`,
    ...lines,
  ];
}
