import { referenceScan } from "../../chunk-scan/reference.ts";
import { referenceGate } from "../../gate/reference.ts";
import { beside, ungroup } from "../reference-columns.ts";
import type { MixerSteps, ReferenceMixer } from "../reference-mixer.ts";
import { convolved, gatesOf } from "../reference-recurrence.ts";
import type { Mamba2 } from "../../../../model/mixer-description.ts";

/** Mamba-2 from the block's input to the output Linear's, in float64. */
export function referenceMamba2Mixer(mixer: Mamba2, x: Float64Array, steps: MixerSteps): ReferenceMixer {
  const { heads, headDim, groups, stateDim, factors, norm } = mixer;
  const inner = heads * headDim;
  const state = groups * stateDim;
  const widths = [inner, inner, state, state, heads];
  const scales = [factors.gate, factors.x, factors.b, factors.c, factors.timeStep];
  const parts = ungroup(steps.apply(mixer.input, x), 1, widths);
  const scaled = parts.map((part, index) => part.map((value) => value * (scales[index] ?? 1)));
  const [gate = x, values = x, b = x, c = x, timeSteps = x] = scaled;
  const joined = beside([
    [values, inner],
    [b, state],
    [c, state],
  ]);
  const [v = x, k = x, q = x] = ungroup(convolved(steps, mixer.convolution, joined, true), 1, [
    inner,
    state,
    state,
  ]);
  const result = referenceScan(
    {
      shape: { heads, keyHeads: groups, keyDim: stateDim, valueDim: headDim, delta: false },
      queries: q,
      keys: k,
      values: v,
      ...gatesOf(steps, mixer, timeSteps, null, mixer.timeStepLimits),
      skip: steps.vector(mixer.skip),
    },
    steps.lengths,
  );
  const before = norm?.isBeforeGate ? steps.norm(norm.norm, result) : result;
  const gated = referenceGate(before, gate, "silu");
  return { values: norm && !norm.isBeforeGate ? steps.norm(norm.norm, gated) : gated, cache: null };
}
