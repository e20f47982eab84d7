// One decoder layer in float64, in plain loops: what the kernels together are held against.

import {
  referenceActivation,
  referenceClampedSwiglu,
  referenceXielu,
} from "../calibrate/forward/activate/reference.ts";
import { referenceRoutes } from "../calibrate/forward/experts/reference.ts";
import { referenceAttentionMixer } from "../calibrate/forward/mixers/attention/reference-mixer.ts";
import { referenceGatedDeltaNetMixer } from "../calibrate/forward/mixers/gated-delta-net/reference-mixer.ts";
import { referenceLatentAttentionMixer } from "../calibrate/forward/mixers/latent-attention/reference-mixer.ts";
import { referenceMamba2Mixer } from "../calibrate/forward/mixers/mamba-2/reference-mixer.ts";
import { columnsOf } from "../calibrate/forward/mixers/reference-columns.ts";
import type { MixerSteps, ReferenceMixer } from "../calibrate/forward/mixers/reference-mixer.ts";
import { referenceShortConvolutionMixer } from "../calibrate/forward/mixers/short-convolution/reference-mixer.ts";
import { referenceNorm } from "../calibrate/forward/norm/reference.ts";
import { referenceScale } from "../calibrate/forward/scale/reference.ts";
import type {
  Activation,
  Experts,
  FeedForward,
  LayerDescription,
  Mlp,
} from "../model/decoder-description.ts";
import { widenToFloat32 } from "../formats/numbers/dtype.ts";
import { mlpInputLinears, sharesInput } from "../model/layer-linears.ts";
import { factsOf } from "../model/mixers/facts-of.ts";
import { type FixtureTensors, floatDtype, floatsOf, weightBytes } from "./architecture-fixture.ts";
import type { Linear, Norm } from "../model/weight-description.ts";
import type { Mixer } from "../model/mixer-description.ts";

export interface ReferenceLayer {
  /** Input of each Linear by its module name, (tokens, columns). */
  readonly inputs: ReadonlyMap<string, Float64Array>;
  readonly cache: ReferenceMixer["cache"];
  readonly output: Float64Array;
}

/** What stands in the place of Linears' weights and inputs: as quantized ones would be. */
export interface ReferenceLinears {
  /** (rows, columns) */
  weight(linear: Linear, values: Float32Array): ArrayLike<number>;
  /** (tokens, columns) */
  input(linear: Linear, x: Float64Array): Float64Array;
}

/**
 * @param hidden rows of tokens: hidden states, and behind them what rows carry, if a mixer takes that
 * @returns the output without what is handed on; a layer's token block is left out
 */
export function referenceLayer(
  layer: LayerDescription,
  tensors: FixtureTensors,
  hidden: ArrayLike<number>,
  lengths: readonly number[],
  linears: ReferenceLinears | null = null,
): ReferenceLayer {
  const inputs = new Map<string, Float64Array>();
  const rows = Float64Array.from(hidden);
  const width = rows.length / lengths.reduce((sum, length) => sum + length, 0);
  const steps: MixerSteps = {
    lengths,
    apply(linear, x) {
      inputs.set(linear.module, x);
      return product(linear, tensors, linears ? linears.input(linear, x) : x, linears);
    },
    norm: (by, x) => (by ? applyNorm(by, tensors, x) : x),
    vector: (tensor) => floatsOf(tensors, tensor),
    carried: (column, count) => columnsOf(rows, width, column, count),
  };
  const { norms, mixers, feedForward, residualMultiplier, outputScale } = layer;
  const factor = outputScale === null ? 1 : (steps.vector(outputScale)[0] ?? 0);
  const join = (x: Float64Array, block: Float64Array) =>
    x.map((value, index) => value + residualMultiplier * (block[index] ?? 0));

  const x = columnsOf(rows, width, 0, layer.hiddenSize);
  const first = mixers.length > 0 ? steps.norm(norms.mixerInput, x) : x;
  const mixed = mixers.map((mixer) => {
    const { values, cache } = referenceMixer(mixer, first, steps);
    const output = steps.apply(factsOf(mixer).output, values);
    return { cache, output: output.map((value) => value * (mixer.outputFactor ?? 1)) };
  });
  const middle = mixed.reduce((sum, { output }) => join(sum, steps.norm(norms.mixerOutput, output)), x);
  const cache = mixed.find((each) => each.cache !== null)?.cache ?? null;
  if (feedForward === null) return { inputs, cache, output: referenceScale(middle, factor) };
  const second = sharesInput(layer) ? first : steps.norm(norms.feedForwardInput, layer.parallel ? x : middle);
  const fed = steps.norm(norms.feedForwardOutput, feed(steps, feedForward, second, middle));
  return { inputs, cache, output: referenceScale(join(middle, fed), factor) };
}

function referenceMixer(mixer: Mixer, input: Float64Array, steps: MixerSteps): ReferenceMixer {
  switch (mixer.kind) {
    case "attention":
      return referenceAttentionMixer(mixer, input, steps);
    case "short-convolution":
      return referenceShortConvolutionMixer(mixer, input, steps);
    case "gated-delta-net":
      return referenceGatedDeltaNetMixer(mixer, input, steps);
    case "mamba-2":
      return referenceMamba2Mixer(mixer, input, steps);
    case "latent-attention":
      return referenceLatentAttentionMixer(mixer, input, steps);
  }
}

/** x Wᵀ + b */
function product(linear: Linear, tensors: FixtureTensors, x: Float64Array, linears: ReferenceLinears | null) {
  const { rows, columns, bias, biasPlace = { first: 0, step: 1 }, source } = linear;
  const tensor = tensors.get(source.tensor);
  if (!tensor) throw new Error(`The fixture has no tensor ${source.tensor}`);
  const values = widenToFloat32(floatDtype(tensor.dtype), weightBytes(linear, tensor));
  const weight = linears ? linears.weight(linear, values) : values;
  const added = bias === null ? null : floatsOf(tensors, bias);
  const tokens = x.length / columns;
  const result = new Float64Array(tokens * rows);
  for (let token = 0; token < tokens; token++) {
    for (let row = 0; row < rows; row++) {
      let sum = added?.[biasPlace.first + row * biasPlace.step] ?? 0;
      for (let k = 0; k < columns; k++) {
        sum += (x[token * columns + k] ?? 0) * (weight[row * columns + k] ?? 0);
      }
      result[token * rows + row] = sum;
    }
  }
  return result;
}

function applyNorm(norm: Norm, tensors: FixtureTensors, x: Float64Array): Float64Array {
  const bias = norm.bias === null ? null : floatsOf(tensors, norm.bias);
  const weight = norm.weight === null ? null : floatsOf(tensors, norm.weight);
  return referenceNorm(norm, x, weight, bias);
}

function feed(steps: MixerSteps, block: FeedForward, x: Float64Array, hidden: Float64Array): Float64Array {
  if (block.kind === "mlp") return applyMlp(steps, block, x);
  const { apart, shared } = block;
  if (!apart || !shared) return addShared(steps, block, x, applyExperts(steps, block, x, x));
  const seen = steps.norm(apart.router.norm, hidden).map((value) => value * apart.router.factor);
  const beside = applyMlp(steps, shared.mlp, steps.norm(apart.sharedInput, hidden));
  const normed = steps.norm(apart.sharedOutput, beside);
  const routed = steps.norm(apart.output, applyExperts(steps, block, x, seen));
  return routed.map((value, index) => value + (normed[index] ?? 0));
}

function applyMlp(steps: MixerSteps, mlp: Mlp, x: Float64Array): Float64Array {
  const output = steps.apply(mlp.down, innerValues(steps, mlp, x));
  return output.map((value) => value * (mlp.factors?.output ?? 1));
}

/** Every expert on all tokens, each as much as its token's weight says by what the router sees. */
function applyExperts(steps: MixerSteps, block: Experts, x: Float64Array, seen: Float64Array): Float64Array {
  const { router, experts, weighsInputs, expertScales } = block;
  const logits = steps.apply(router, seen);
  const tokens = logits.length / experts.length;
  const vectors = {
    correction: block.correction === null ? null : steps.vector(block.correction),
    scales: expertScales === undefined ? null : steps.vector(expertScales),
  };
  const routes = Array.from({ length: tokens }, (_, token) =>
    referenceRoutes(logits.subarray(token * experts.length, (token + 1) * experts.length), block, vectors),
  );
  const perToken = x.length / tokens;
  const result = new Float64Array(x.length);
  for (const [expert, mlp] of experts.entries()) {
    const weights = routes.map((route) => route.find((each) => each.expert === expert)?.weight ?? 0);
    const weightAt = (index: number) => weights[Math.floor(index / perToken)] ?? 0;
    const input = weighsInputs ? x.map((value, index) => value * weightAt(index)) : x;
    const output = applyMlp(steps, mlp, input);
    for (const [index, value] of output.entries()) {
      result[index] = (result[index] ?? 0) + value * (weighsInputs ? 1 : weightAt(index));
    }
  }
  return result;
}

function addShared(
  steps: MixerSteps,
  { shared }: Experts,
  x: Float64Array,
  result: Float64Array,
): Float64Array {
  if (!shared) return result;
  const perToken = shared.mlp.down.rows;
  const gates = shared.gate && steps.apply(shared.gate, x);
  const output = applyMlp(steps, shared.mlp, x);
  return result.map((value, index) => {
    const gate = gates ? 1 / (1 + Math.exp(-(gates[Math.floor(index / perToken)] ?? 0))) : 1;
    return value + gate * (output[index] ?? 0);
  });
}

function innerValues(steps: MixerSteps, mlp: Mlp, x: Float64Array): Float64Array {
  const { inputs, activation, intermediateSize } = mlp;
  const [first = new Float64Array(), second] = mlpInputLinears(inputs).map((linear) =>
    steps.apply(linear, x),
  );
  const stride = inputs.kind === "fused" ? 2 * intermediateSize : intermediateSize;
  const tokens = first.length / stride;
  const activate = activationOf(steps, activation);
  return new Float64Array(tokens * intermediateSize).map((_, index) => {
    const at = Math.floor(index / intermediateSize) * stride + (index % intermediateSize);
    const gate = (first[at] ?? 0) * (mlp.factors?.gate ?? 1);
    if (inputs.kind === "plain") return activate(gate, 1);
    return activate(gate, (second ?? first)[second ? index : at + intermediateSize] ?? 0);
  });
}

function activationOf(steps: MixerSteps, activation: Activation): (x: number, up: number) => number {
  if (typeof activation === "string") return (x, up) => referenceActivation(activation, x) * up;
  if (activation.kind === "clamped-swiglu") return (x, up) => referenceClampedSwiglu(activation, x, up);
  const value = (tensor: string) => steps.vector(tensor)[0] ?? 0;
  const parameters = {
    alphaP: value(activation.alphaP),
    alphaN: value(activation.alphaN),
    beta: value(activation.beta),
    eps: value(activation.eps),
  };
  return (x, up) => referenceXielu(parameters, x) * up;
}
