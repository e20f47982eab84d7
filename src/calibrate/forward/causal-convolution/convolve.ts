import { UnsupportedModelError } from "../../../errors.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { TokenBatch } from "../token-batch.ts";
import code from "./causal-convolution.wgsl?raw";

const WORKGROUP = 64;
/** Inputs that an invocation of the kernel keeps. */
const MAX_TAPS = 8;

export const causalConvolutionKernel = kernel({
  name: "forward.causal-convolution",
  code: [code],
  params: struct({
    channels: "u32",
    stride: "u32",
    x: "u32",
    before: "u32",
    after: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { sequences: "read", weight: "read", bias: "read", x: "read_write" },
  constants: ["TAPS", "BIASED", "SILU", "GATED"],
});

export interface ConvolutionOptions {
  /** (tokens, stride) float32. */
  readonly x: BufferPart;
  readonly stride: number;
  /** First of the columns that are convolved, one a channel. */
  readonly column: number;
  readonly channels: number;
  /** Tokens that an output sees. */
  readonly taps: number;
  /** (channels, taps), the token itself last. */
  readonly weight: BufferPart;
  readonly bias: BufferPart | null;
  readonly silu: boolean;
  /** First columns of what is multiplied with the input and with the output, one a channel. */
  readonly factors?: { readonly before: number; readonly after: number };
}

/** @throws UnsupportedModelError if a convolution sees more tokens than the kernel keeps. */
export function checkTaps(module: string, taps: number): void {
  if (taps <= MAX_TAPS) return;
  throw new UnsupportedModelError(
    `${module} has a convolution over ${taps} tokens; calibration can compute those over up to ${MAX_TAPS}. Recipes without calibration still work.`,
  );
}

/** Replaces columns of x by their causal convolution along each sequence of the batch. */
export async function convolve(gpu: Gpu, batch: TokenBatch, options: ConvolutionOptions): Promise<void> {
  const { x, stride, column, channels, taps, weight, bias, silu, factors } = options;
  const work = batch.longest * taps * 2;
  const items = batch.lengths.length * channels;
  for (const { first, end } of gpu.queue.split(causalConvolutionKernel, items, work, WORKGROUP)) {
    await gpu.queue.run(causalConvolutionKernel, {
      params: {
        channels,
        stride,
        x: column,
        before: factors?.before ?? 0,
        after: factors?.after ?? 0,
        first,
        end,
      },
      // A binding that is not read still needs a buffer.
      buffers: { sequences: batch.sequences, weight, bias: bias ?? weight, x },
      constants: {
        TAPS: taps,
        BIASED: Number(bias !== null),
        SILU: Number(silu),
        GATED: Number(factors !== undefined),
      },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * work,
    });
  }
}
