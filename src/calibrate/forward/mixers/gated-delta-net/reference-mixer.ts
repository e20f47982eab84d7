import { referenceScan } from "../../chunk-scan/reference.ts";
import { referenceGate } from "../../gate/reference.ts";
import { beside, ungroup } from "../reference-columns.ts";
import type { MixerSteps, ReferenceMixer } from "../reference-mixer.ts";
import { convolved, gatesOf } from "../reference-recurrence.ts";
import type { GatedDeltaNet } from "../../../../model/mixer-description.ts";

/** The gated delta rule from the block's input to the output Linear's, in float64. */
export function referenceGatedDeltaNetMixer(
  mixer: GatedDeltaNet,
  x: Float64Array,
  steps: MixerSteps,
): ReferenceMixer {
  const { heads, keyHeads, keyDim, valueDim } = mixer;
  const { queryKeyValue, gate, betas, timeSteps } = projectDelta(steps, mixer, x);
  const widths = [keyHeads * keyDim, keyHeads * keyDim, heads * valueDim];
  const [queries = x, keys = x, values = x] = ungroup(
    convolved(steps, mixer.convolution, queryKeyValue, true),
    1,
    widths,
  );
  const gates = gatesOf(steps, mixer, timeSteps, betas);
  const result = referenceScan(
    {
      shape: { heads, keyHeads, keyDim, valueDim, delta: true },
      queries: unitLength(queries, keyDim, keyDim ** -0.5),
      keys: unitLength(keys, keyDim, 1),
      values,
      ...gates,
      skip: null,
    },
    steps.lengths,
  );
  return { values: referenceGate(steps.norm(mixer.norm, result), gate, "silu"), cache: null };
}

function projectDelta(steps: MixerSteps, mixer: GatedDeltaNet, x: Float64Array) {
  const { inputs, heads, keyHeads, keyDim, valueDim } = mixer;
  if (inputs.kind === "separate") {
    return {
      queryKeyValue: steps.apply(inputs.queryKeyValue, x),
      gate: steps.apply(inputs.gate, x),
      betas: steps.apply(inputs.beta, x),
      timeSteps: steps.apply(inputs.timeStep, x),
    };
  }
  const share = heads / keyHeads;
  const widths = [keyDim, keyDim, share * valueDim, share * valueDim];
  const [q = x, k = x, v = x, gate = x] = ungroup(steps.apply(inputs.queryKeyValueGate, x), keyHeads, widths);
  const [betas = x, timeSteps = x] = ungroup(steps.apply(inputs.betaTimeStep, x), keyHeads, [share, share]);
  const queryKeyValue = beside([
    [q, keyHeads * keyDim],
    [k, keyHeads * keyDim],
    [v, heads * valueDim],
  ]);
  return { queryKeyValue, gate, betas, timeSteps };
}

/** Queries or keys of length one, times a factor. */
function unitLength(x: Float64Array, size: number, factor: number): Float64Array {
  const result = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += size) {
    const vector = x.subarray(start, start + size);
    const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 1e-6));
    result.set(
      vector.map((value) => (factor * value) / length),
      start,
    );
  }
  return result;
}
