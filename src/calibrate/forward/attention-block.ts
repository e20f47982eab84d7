import type {
  Attention,
  AttentionInputs,
  LayerDescription,
  Linear,
  Norm,
  Rotary,
} from "../../model/decoder-description.ts";
import { attentionLinears, feedForwardLinears, mlpInputLinears } from "../../model/layer-linears.ts";
import { attend, qkvColumns } from "./mixers/attention/attend.ts";
import {
  applyLinear,
  applyNorm,
  blockInput,
  type ForwardPass,
  type HiddenRows,
  isWanted,
  joinResidual,
} from "./forward-pass.ts";
import type { Activations } from "./layer-weights.ts";
import { rotate } from "./rotary/rotate.ts";

/** hidden += attention(norm(hidden)) for the whole batch. Returns false if nothing after it is wanted. */
export async function attentionBlock(
  pass: ForwardPass,
  layer: LayerDescription,
  states: HiddenRows,
): Promise<boolean> {
  const { gpu, batch, workspace, hooks } = pass;
  const { attention, norms } = layer;
  const input = await blockInput(pass, norms.attentionInput, states);
  await hooks?.onInput?.(inputModules(layer), input);
  const later = laterLinears(layer);
  if (!isWanted(pass, [attention.output, ...later])) return false;
  await project(pass, attention, input);
  await normHeads(pass, attention);
  if (hasRotary(attention)) {
    const table = workspace.rotaryTable(attention.rotary);
    await rotate(gpu, attention, workspace.scratch, batch, table);
  }
  const [queries, keys, values] = headRuns(pass, attention);
  await hooks?.onKeyValue?.(attention.module, keys, values);
  await attend(gpu, attention, workspace.scratch, batch);
  await hooks?.onInput?.([attention.output.module], queries);
  if (!isWanted(pass, later)) return false;
  // The MLP of a parallel layer does not see attention's output.
  if (layer.parallel && pass.stopAtLastInput) return true;
  const end = { linear: attention.output, norm: norms.attentionOutput };
  await joinResidual(pass, layer, end, queries, states);
  return true;
}

/** Linears whose inputs come after attention. */
function laterLinears({ feedForward, parallel }: LayerDescription): readonly Linear[] {
  return parallel && feedForward.kind === "mlp" ? [feedForward.down] : feedForwardLinears(feedForward);
}

/** In parallel layers the MLP sees the same input. */
function inputModules({ attention, feedForward, parallel }: LayerDescription): string[] {
  const shared = parallel && feedForward.kind === "mlp" ? mlpInputLinears(feedForward.inputs) : [];
  return [...attentionLinears(attention.inputs), ...shared].map(({ module }) => module);
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
