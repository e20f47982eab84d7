// What the plain float64 mixers with a convolution and a state have in common.

import { referenceConvolution } from "../causal-convolution/reference.ts";
import { referenceGates } from "../chunk-scan/reference.ts";
import type { MixerSteps } from "./reference-mixer.ts";
import type { Convolution, GatedDeltaNet, Mamba2 } from "../../../model/mixer-description.ts";

export function convolved(
  steps: MixerSteps,
  { weight, bias, channels, taps }: Convolution,
  x: Float64Array,
  silu: boolean,
): Float64Array {
  const vectors = { weight: steps.vector(weight), bias: bias === null ? null : steps.vector(bias) };
  return referenceConvolution({ channels, taps, silu, ...vectors }, x, steps.lengths);
}

export function gatesOf(
  steps: MixerSteps,
  { heads, decay, timeStepBias }: GatedDeltaNet | Mamba2,
  timeSteps: Float64Array,
  betas: Float64Array | null,
  limits?: Mamba2["timeStepLimits"],
) {
  const [decays, biases] = [steps.vector(decay), steps.vector(timeStepBias)];
  const gates = Array.from(timeSteps, (timeStep, index) =>
    referenceGates({
      timeStep,
      beta: betas ? (betas[index] ?? 0) : null,
      decay: decays[index % heads] ?? 0,
      bias: biases[index % heads] ?? 0,
      ...(limits ? { limits } : {}),
    }),
  );
  return { decays: gates.map((gate) => gate.decay), factors: gates.map((gate) => gate.factor) };
}
