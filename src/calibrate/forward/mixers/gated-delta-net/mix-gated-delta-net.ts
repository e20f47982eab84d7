import { plainNorm } from "../../../../model/parts/decoder-parts.ts";
import { checkTaps, convolve } from "../../causal-convolution/convolve.ts";
import { decayGates } from "../../chunk-scan/decay-gates.ts";
import { scan } from "../../chunk-scan/scan.ts";
import { checkScan } from "../../chunk-scan/scan-layout.ts";
import {
  applyLinear,
  applyNorm,
  applyPieces,
  type ForwardPass,
  type LinearPiece,
} from "../../forward-pass.ts";
import { multiplyByGate } from "../../gate/multiply-by-gate.ts";
import type { Activations } from "../../layer-weights.ts";
import { type DeltaColumns, deltaColumns, deltaShape } from "./delta-columns.ts";
import type { MixerForward } from "../mixer-forward.ts";
import type { Norm } from "../../../../model/weight-description.ts";
import type { GatedDeltaNet } from "../../../../model/mixer-description.ts";

/** Added to the sum of squares of a query or key (transformers' `l2norm`). */
const LENGTH_EPS = 1e-6;
const IN_PARTS = { scale: 1, replaces: true, inParts: true };

export function gatedDeltaNetForward(mixer: GatedDeltaNet): MixerForward {
  return {
    scratch: { what: "Queries, keys, values and gates", columns: deltaColumns(mixer).stride },
    rotary: null,
    outputInParts: true,
    check: () => {
      checkScan(mixer.module, deltaShape(mixer));
      checkTaps(mixer.module, mixer.convolution.taps);
    },
    // Its kernels compile fast.
    prepare: () => undefined,
    mix: async (pass, input) => await mixGatedDeltaNet(pass, mixer, input),
  };
}

/** norm(gated delta rule) · silu(gate), in place of the values. */
async function mixGatedDeltaNet(
  pass: ForwardPass,
  mixer: GatedDeltaNet,
  input: Activations,
): Promise<Activations> {
  const { gpu, weights, workspace, batch } = pass;
  const { heads, keyHeads, keyDim, valueDim, convolution } = mixer;
  const columns = deltaColumns(mixer);
  const { stride } = columns;
  const buffer = workspace.scratch;
  const run = (offset: number, width: number): Activations => ({
    buffer,
    rows: batch.tokens,
    columns: width,
    stride,
    offset,
  });
  await project(pass, mixer, columns, input);
  await convolve(gpu, batch, {
    x: buffer,
    stride,
    column: columns.queries,
    channels: convolution.channels,
    taps: convolution.taps,
    weight: await weights.vector(convolution.weight),
    bias: convolution.bias === null ? null : await weights.vector(convolution.bias),
    silu: true,
  });
  await applyNorm(pass, unitNorm(keyDim), null, run(columns.queries, 2 * keyHeads * keyDim));
  await decayGates(gpu, {
    x: buffer,
    tokens: batch.tokens,
    stride,
    heads,
    timeSteps: columns.timeSteps,
    betas: columns.betas,
    ...(mixer.inputs.kind === "grouped"
      ? { groups: { perGroup: heads / keyHeads, stride: (2 * heads) / keyHeads } }
      : {}),
    gates: columns.gates,
    decay: await weights.vector(mixer.decay),
    bias: await weights.vector(mixer.timeStepBias),
  });
  // Root mean squares of one make lengths of √keyDim; queries are divided by √keyDim once more.
  const scales = { queryScale: 1 / keyDim, keyScale: keyDim ** -0.5 };
  await scan(gpu, batch, { shape: deltaShape(mixer), x: buffer, stride, columns, ...scales, skip: null });
  const result = run(columns.values, heads * valueDim);
  await applyNorm(pass, mixer.norm, null, result);
  await multiplyByGate(gpu, result, columns.gate, "silu");
  return result;
}

/** Divides by the length over √size. */
function unitNorm(size: number): Norm {
  return plainNorm(size, LENGTH_EPS / size);
}

/**
 * In parts: what is left of values that cancel out is normed, which enlarges what these sums have lost up to a thousandfold.
 */
async function project(
  pass: ForwardPass,
  mixer: GatedDeltaNet,
  columns: DeltaColumns,
  input: Activations,
): Promise<void> {
  const { inputs } = mixer;
  const at = (offset: number) => ({ buffer: pass.workspace.scratch, stride: columns.stride, offset });
  if (inputs.kind === "separate") {
    await applyLinear(pass, inputs.queryKeyValue, input, at(columns.queries), IN_PARTS);
    await applyLinear(pass, inputs.gate, input, at(columns.gate));
    await applyLinear(pass, inputs.beta, input, at(columns.betas), IN_PARTS);
    await applyLinear(pass, inputs.timeStep, input, at(columns.timeSteps), IN_PARTS);
    return;
  }
  await applyPieces(pass, inputs.queryKeyValueGate, groupPieces(mixer, columns), input, at(0));
  await applyLinear(pass, inputs.betaTimeStep, input, at(columns.betas), IN_PARTS);
}

/** Rows of a key head's query, key, values and gates. */
function groupPieces(mixer: GatedDeltaNet, columns: DeltaColumns): LinearPiece[] {
  const { heads, keyHeads, keyDim, valueDim } = mixer;
  const widths = [keyDim, keyDim, (heads / keyHeads) * valueDim, (heads / keyHeads) * valueDim];
  const starts = [columns.queries, columns.keys, columns.values, columns.gate];
  const pieces: LinearPiece[] = [];
  let firstRow = 0;
  for (let group = 0; group < keyHeads; group++) {
    for (const [part, rows] of widths.entries()) {
      const column = (starts[part] ?? 0) + group * rows;
      pieces.push({ firstRow, rows, column, inParts: true });
      firstRow += rows;
    }
  }
  return pieces;
}
