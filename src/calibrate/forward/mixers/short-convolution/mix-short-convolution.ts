import { checkTaps, convolve } from "../../causal-convolution/convolve.ts";
import { applyLinear, type ForwardPass } from "../../forward-pass.ts";
import type { Activations } from "../../layer-weights.ts";
import type { MixerForward } from "../mixer-forward.ts";
import type { ShortConvolution } from "../../../../model/mixer-description.ts";

export function shortConvolutionForward(mixer: ShortConvolution): MixerForward {
  return {
    scratch: { what: "Convolved values and their factors", columns: mixer.input.rows },
    rotary: null,
    check: () => checkTaps(mixer.module, mixer.convolution.taps),
    // Its kernels compile fast.
    prepare: () => undefined,
    mix: async (pass, input) => await mixShortConvolution(pass, mixer, input),
  };
}

/** C · convolution(B · x), in place of x. */
async function mixShortConvolution(
  { gpu, weights, workspace, batch }: ForwardPass,
  mixer: ShortConvolution,
  input: Activations,
): Promise<Activations> {
  const { channels, taps, weight, bias } = mixer.convolution;
  const stride = mixer.input.rows;
  const rows = { buffer: workspace.scratch, stride };
  await applyLinear({ gpu, weights }, mixer.input, input, rows);
  await convolve(gpu, batch, {
    x: workspace.scratch,
    stride,
    column: 2 * channels,
    channels,
    taps,
    weight: await weights.vector(weight),
    bias: bias === null ? null : await weights.vector(bias),
    silu: false,
    factors: { before: 0, after: channels },
  });
  return { ...rows, rows: batch.tokens, columns: channels, offset: 2 * channels };
}
