// What the mixers with a convolution and a state have in common.

import { type TensorShape, vectorShape } from "../norm-tensors.ts";
import type { Convolution, GatedDeltaNet, Mamba2 } from "../mixer-description.ts";

export function convolutionTensors({ weight, bias, channels, taps }: Convolution): readonly TensorShape[] {
  return [[weight, [channels, 1, taps]], ...(bias === null ? [] : [vectorShape(bias, channels)])];
}

/** The vectors of one value a head that the gates of a recurrence are made of. */
export function gateTensors({ decay, timeStepBias, heads }: GatedDeltaNet | Mamba2): readonly TensorShape[] {
  return [vectorShape(decay, heads), vectorShape(timeStepBias, heads)];
}

/** Three products a token with each head's state, and the convolution. */
export function recurrentWork(heads: number, stateValues: number, convolution: Convolution): number {
  return 6 * heads * stateValues + 2 * convolution.channels * convolution.taps;
}
