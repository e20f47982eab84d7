// One dense decoder layer in float64, in plain loops: what the kernels together are held against.

import { referenceActivation } from "../calibrate/forward/activate/reference.ts";
import { referenceAttentionMixer } from "../calibrate/forward/mixers/attention/reference-mixer.ts";
import type { MixerSteps, ReferenceMixer } from "../calibrate/forward/mixers/reference-mixer.ts";
import { referenceNorm } from "../calibrate/forward/norm/reference.ts";
import type { LayerDescription, Linear, Mixer, Mlp, Norm } from "../model/decoder-description.ts";
import { mlpInputLinears } from "../model/layer-linears.ts";
import { factsOf } from "../model/mixers/facts-of.ts";
import { type FixtureTensors, floatsOf } from "./architecture-fixture.ts";

export interface ReferenceLayer {
  /** Input of each Linear by its module name, (tokens, columns). */
  readonly inputs: ReadonlyMap<string, Float64Array>;
  readonly cache: ReferenceMixer["cache"];
  readonly output: Float64Array;
}

export function referenceLayer(
  layer: LayerDescription,
  tensors: FixtureTensors,
  hidden: ArrayLike<number>,
  lengths: readonly number[],
): ReferenceLayer {
  const inputs = new Map<string, Float64Array>();
  const apply = (linear: Linear, x: Float64Array) => {
    inputs.set(linear.module, x);
    return product(linear, tensors, x);
  };
  const norm = (by: Norm | null, x: Float64Array) => (by ? applyNorm(by, tensors, x) : x);
  const { norms, mixers, feedForward, residualMultiplier } = layer;
  const join = (x: Float64Array, block: Float64Array) =>
    x.map((value, index) => value + residualMultiplier * (block[index] ?? 0));

  const x = Float64Array.from(hidden);
  const first = norm(norms.mixerInput, x);
  const mixed = mixers.map((mixer) => ({ mixer, ...referenceMixer(mixer, first, { apply, norm, lengths }) }));
  const middle = mixed.reduce(
    (sum, { mixer, values }) => join(sum, norm(norms.mixerOutput, apply(factsOf(mixer).output, values))),
    x,
  );
  const cache = mixed.find((each) => each.cache !== null)?.cache ?? null;
  if (feedForward === null) return { inputs, cache, output: middle };
  if (feedForward.kind === "experts") throw new Error("The reference layer is dense");
  const second = layer.parallel ? first : norm(norms.feedForwardInput, middle);
  const inner = innerValues(feedForward, apply, second);
  const output = join(middle, norm(norms.feedForwardOutput, apply(feedForward.down, inner)));
  return { inputs, cache, output };
}

function referenceMixer(mixer: Mixer, input: Float64Array, steps: MixerSteps): ReferenceMixer {
  switch (mixer.kind) {
    case "attention":
      return referenceAttentionMixer(mixer, input, steps);
  }
}

/** x Wᵀ + b */
function product({ rows, columns, bias, source }: Linear, tensors: FixtureTensors, x: Float64Array) {
  const weight = floatsOf(tensors, source.tensor);
  const added = bias === null ? null : floatsOf(tensors, bias);
  const tokens = x.length / columns;
  return Float64Array.from({ length: tokens * rows }, (_, index) => {
    const [token, row] = [Math.floor(index / rows), index % rows];
    let sum = added?.[row] ?? 0;
    for (let k = 0; k < columns; k++) {
      sum += (x[token * columns + k] ?? 0) * (weight[(source.firstRow + row) * columns + k] ?? 0);
    }
    return sum;
  });
}

function applyNorm(norm: Norm, tensors: FixtureTensors, x: Float64Array): Float64Array {
  const bias = norm.bias === null ? null : floatsOf(tensors, norm.bias);
  return referenceNorm(norm, x, floatsOf(tensors, norm.weight), bias);
}

function innerValues(
  { inputs, activation, intermediateSize }: Mlp,
  apply: MixerSteps["apply"],
  x: Float64Array,
) {
  const [first = new Float64Array(), second] = mlpInputLinears(inputs).map((linear) => apply(linear, x));
  const stride = inputs.kind === "fused" ? 2 * intermediateSize : intermediateSize;
  const tokens = first.length / stride;
  return Float64Array.from({ length: tokens * intermediateSize }, (_, index) => {
    const at = Math.floor(index / intermediateSize) * stride + (index % intermediateSize);
    const activated = referenceActivation(activation, first[at] ?? 0);
    if (inputs.kind === "plain") return activated;
    return activated * ((second ?? first)[second ? index : at + intermediateSize] ?? 0);
  });
}
