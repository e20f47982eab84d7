import type {
  AttentionInputs,
  Attention,
  Linear,
  Norm,
  Rotary,
} from "../../../../model/decoder-description.ts";
import { applyLinear, applyNorm, type ForwardPass } from "../../forward-pass.ts";
import type { Activations } from "../../layer-weights.ts";
import { rotate } from "../../rotary/rotate.ts";
import type { MixerForward } from "../mixer-forward.ts";
import { attend, checkHeadDim, prepareAttention, qkvColumns } from "./attend.ts";

export function attentionForward(attention: Attention): MixerForward {
  return {
    scratch: { what: "Queries, keys and values", columns: qkvColumns(attention) },
    rotary: attention.rotary,
    check: () => checkHeadDim(attention),
    prepare: (gpu) => prepareAttention(gpu, attention),
    mix: async (pass, input) => await mixAttention(pass, attention, input),
  };
}

async function mixAttention(
  pass: ForwardPass,
  attention: Attention,
  input: Activations,
): Promise<Activations> {
  const { gpu, batch, workspace, hooks } = pass;
  await project(pass, attention, input);
  await normHeads(pass, attention);
  if (hasRotary(attention)) {
    const table = workspace.rotaryTable(attention.rotary);
    await rotate(gpu, attention, workspace.scratch, batch, table);
  }
  const [queries, keys, values] = headRuns(pass, attention);
  await hooks?.onKeyValue?.(attention.module, keys, values, attention.kvHeads);
  await attend(gpu, attention, workspace.scratch, batch);
  return queries;
}

function hasRotary(attention: Attention): attention is Attention & { readonly rotary: Rotary } {
  return attention.rotary !== null;
}

/** Queries, keys and values as runs of columns of the scratch buffer. */
function headRuns(
  { workspace, batch }: ForwardPass,
  attention: Attention,
): [Activations, Activations, Activations] {
  const { heads, kvHeads, headDim } = attention;
  const run = (first: number, count: number): Activations => ({
    buffer: workspace.scratch,
    rows: batch.tokens,
    columns: count * headDim,
    stride: qkvColumns(attention),
    offset: first * headDim,
  });
  return [run(0, heads), run(heads, kvHeads), run(heads + kvHeads, kvHeads)];
}

async function project(pass: ForwardPass, attention: Attention, input: Activations): Promise<void> {
  const runs = headRuns(pass, attention);
  const [queries] = runs;
  if (attention.inputs.kind === "fused") {
    await applyLinear(pass, attention.inputs.queryKeyValue, input, queries);
    return;
  }
  for (const [index, linear] of separateLinears(attention.inputs).entries()) {
    await applyLinear(pass, linear, input, runs[index] ?? queries);
  }
}

function separateLinears(inputs: Extract<AttentionInputs, { kind: "separate" }>): [Linear, Linear, Linear] {
  return [inputs.query, inputs.key, inputs.value];
}

async function normHeads(pass: ForwardPass, attention: Attention): Promise<void> {
  const [queries, keys] = headRuns(pass, attention);
  const normed: [Norm | null, Activations][] = [
    [attention.queryNorm, queries],
    [attention.keyNorm, keys],
  ];
  for (const [norm, run] of normed) {
    if (norm) await applyNorm(pass, norm, null, run);
  }
}
