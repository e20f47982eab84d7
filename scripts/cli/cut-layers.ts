// Where a decoder is cut into ranges of layers, so that the dearest range is as cheap as can be.

import type { LayerCost } from "../../src/api/compressor-api.ts";

/** Layers `first` to `end` - 1. */
export interface LayerRange {
  readonly first: number;
  readonly end: number;
}

type Cost = (range: LayerRange) => number;

/** More halvings than a double has bits in its fraction. */
const HALVINGS = 60;

/**
 * Seconds of each range of these layers.
 * @param passes true if samples run through all layers in front of a range before its own begin
 */
export function rangeSeconds(layers: readonly LayerCost[], passes: boolean): Cost {
  const before = [0];
  const own = [0];
  for (const [place, { seconds, passedSeconds }] of layers.entries()) {
    before.push((before[place] ?? 0) + (passes ? passedSeconds : 0));
    own.push((own[place] ?? 0) + seconds);
  }
  return ({ first, end }) => {
    const last = layers[end - 1];
    const whole = (own[end - 1] ?? 0) - (own[first] ?? 0) + (last?.lastSeconds ?? 0);
    return (before[first] ?? 0) + whole;
  };
}

/**
 * Cuts `layers` into `ranges` ranges, or one a layer if there are fewer. What the dearest may cost is found by trying: a range that
 * takes all that it can for that leaves those behind it the least.
 * @param costOf of which no part of a range costs more than the range
 */
export function cutLayers(layers: number, ranges: number, costOf: Cost): LayerRange[] {
  if (layers === 0) return [];
  let low = 0;
  let high = costOf({ first: 0, end: layers });
  for (let halving = 0; halving < HALVINGS; halving++) {
    const middle = (low + high) / 2;
    if (fill(layers, middle, costOf, 0).length <= ranges) high = middle;
    else low = middle;
  }
  // One range more costs nothing: of a range that is cut in two, neither half is dearer than the whole.
  return fill(layers, high, costOf, ranges);
}

export function dearest(ranges: readonly LayerRange[], costOf: Cost): number {
  return Math.max(0, ...ranges.map(costOf));
}

/** Ranges that cost at most so much each, of one layer at least; each leaves a layer for those that are to come, if it can. */
function fill(layers: number, most: number, costOf: Cost, wanted: number): LayerRange[] {
  const ranges: LayerRange[] = [];
  for (let first = 0; first < layers;) {
    const due = Math.max(wanted - ranges.length - 1, 0);
    let end = first + 1;
    while (end < layers && layers - end > due && costOf({ first, end: end + 1 }) <= most) end++;
    ranges.push({ first, end });
    first = end;
  }
  return ranges;
}
