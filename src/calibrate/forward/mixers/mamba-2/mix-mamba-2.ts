import { checkTaps, convolve } from "../../causal-convolution/convolve.ts";
import { decayGates } from "../../chunk-scan/decay-gates.ts";
import { scan } from "../../chunk-scan/scan.ts";
import { checkScan } from "../../chunk-scan/scan-layout.ts";
import { applyLinear, applyNorm, applyPieces, type ForwardPass } from "../../forward-pass.ts";
import { multiplyByGate } from "../../gate/multiply-by-gate.ts";
import type { Activations } from "../../layer-weights.ts";
import { type MambaColumns, mambaColumns, mambaShape } from "./mamba-columns.ts";
import type { MixerForward } from "../mixer-forward.ts";
import type { Mamba2 } from "../../../../model/mixer-description.ts";

export function mamba2Forward(mixer: Mamba2): MixerForward {
  return {
    scratch: { what: "Inputs and gates of a state", columns: mambaColumns(mixer).stride },
    rotary: null,
    check: () => {
      checkScan(mixer.module, mambaShape(mixer));
      checkTaps(mixer.module, mixer.convolution.taps);
    },
    // Its kernels compile fast.
    prepare: () => undefined,
    mix: async (pass, input) => await mixMamba2(pass, mixer, input),
  };
}

/** The scan's result times silu(gate), with its norm, in place of x. */
async function mixMamba2(pass: ForwardPass, mixer: Mamba2, input: Activations): Promise<Activations> {
  const { gpu, weights, workspace, batch } = pass;
  const { heads, headDim, convolution, norm } = mixer;
  const columns = mambaColumns(mixer);
  const { stride } = columns;
  const x = workspace.scratch;
  await project(pass, mixer, columns, input);
  await convolve(gpu, batch, {
    x,
    stride,
    column: columns.values,
    channels: convolution.channels,
    taps: convolution.taps,
    weight: await weights.vector(convolution.weight),
    bias: convolution.bias === null ? null : await weights.vector(convolution.bias),
    silu: true,
  });
  await decayGates(gpu, {
    x,
    tokens: batch.tokens,
    stride,
    heads,
    timeSteps: columns.timeSteps,
    betas: null,
    gates: columns.gates,
    decay: await weights.vector(mixer.decay),
    bias: await weights.vector(mixer.timeStepBias),
    limits: mixer.timeStepLimits,
  });
  const skip = await weights.vector(mixer.skip);
  const shape = mambaShape(mixer);
  await scan(gpu, batch, { shape, x, stride, columns, queryScale: 1, keyScale: 1, skip });
  const result = {
    buffer: x,
    rows: batch.tokens,
    columns: heads * headDim,
    stride,
    offset: columns.values,
  };
  if (norm?.isBeforeGate) await applyNorm(pass, norm.norm, null, result);
  await multiplyByGate(gpu, result, columns.gate, "silu");
  if (norm && !norm.isBeforeGate) await applyNorm(pass, norm.norm, null, result);
  return result;
}

async function project(
  pass: ForwardPass,
  mixer: Mamba2,
  columns: MambaColumns,
  input: Activations,
): Promise<void> {
  const { factors, heads } = mixer;
  const y = { buffer: pass.workspace.scratch, stride: columns.stride };
  if (Object.values(factors).every((factor) => factor === 1)) {
    await applyLinear(pass, mixer.input, input, y);
    return;
  }
  const starts = [columns.gate, columns.values, columns.keys, columns.queries, columns.timeSteps];
  const scales = [factors.gate, factors.x, factors.b, factors.c, factors.timeStep];
  const pieces = starts.map((firstRow, part) => ({
    firstRow,
    rows: (starts[part + 1] ?? columns.timeSteps + heads) - firstRow,
    column: firstRow,
    scale: scales[part] ?? 1,
  }));
  await applyPieces(pass, mixer.input, pieces, input, y);
}
