// The operations that GPTQ of a decoder cannot do without, by phase: what its seconds are held against.

import type { DecoderDescription, LayerDescription } from "../../src/model/decoder-description.ts";
import { captures, layerLinears } from "../../src/model/layer-linears.ts";
import { factsOf } from "../../src/model/mixers/facts-of.ts";

export interface ArithmeticFloor {
  readonly calibrating: number;
  readonly quantizing: number;
  readonly propagating: number;
}

/**
 * Operations over all layers for `samples` sequences of `tokensEach` tokens. Calibrating: the products of all Linears but
 * the last, mixers, and the lower triangles of the Hessians. Quantizing: a Cholesky factorisation for each Hessian and
 * rows · columns² for each Linear. Propagating: all products and mixers, but not
 * of the last layer, whose output nobody reads.
 */
export function arithmeticFloor(
  { layers }: DecoderDescription,
  samples: number,
  tokensEach: number,
): ArithmeticFloor {
  const sum = (of: (layer: LayerDescription) => number) =>
    layers.reduce((total, layer) => total + of(layer), 0);
  const tokens = samples * tokensEach;
  const mixer = (layer: LayerDescription) =>
    layer.mixers.reduce((total, each) => total + samples * factsOf(each).work(tokensEach), 0);
  const products = (layer: LayerDescription, without: number) =>
    layerLinears(layer)
      .slice(0, -without || undefined)
      .reduce((total, { rows, columns }) => total + 2 * tokens * rows * columns, 0);
  const hessians = (layer: LayerDescription) =>
    captures(layer).reduce((total, { columns }) => total + columns * (columns + 1) * tokens, 0);
  const factors = (layer: LayerDescription) =>
    captures(layer).reduce((total, { columns }) => total + columns ** 3 / 3, 0);
  const rounding = (layer: LayerDescription) =>
    layerLinears(layer).reduce((total, { rows, columns }) => total + rows * columns ** 2, 0);
  return {
    calibrating: sum((layer) => products(layer, 1) + mixer(layer) + hessians(layer)),
    quantizing: sum((layer) => factors(layer) + rounding(layer)),
    propagating: layers.slice(0, -1).reduce((total, layer) => total + products(layer, 0) + mixer(layer), 0),
  };
}
