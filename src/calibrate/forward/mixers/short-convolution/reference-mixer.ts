import { columnsOf } from "../reference-columns.ts";
import type { MixerSteps, ReferenceMixer } from "../reference-mixer.ts";
import { convolved } from "../reference-recurrence.ts";
import type { ShortConvolution } from "../../../../model/mixer-description.ts";

/** A gated convolution from the block's input to the output Linear's, in float64. */
export function referenceShortConvolutionMixer(
  mixer: ShortConvolution,
  x: Float64Array,
  steps: MixerSteps,
): ReferenceMixer {
  const { channels } = mixer.convolution;
  const all = steps.apply(mixer.input, x);
  const part = (index: number) => columnsOf(all, 3 * channels, index * channels, channels);
  const [b, c, values] = [part(0), part(1), part(2)];
  const product = values.map((value, index) => value * (b[index] ?? 0));
  const result = convolved(steps, mixer.convolution, product, false);
  return { values: result.map((value, index) => value * (c[index] ?? 0)), cache: null };
}
