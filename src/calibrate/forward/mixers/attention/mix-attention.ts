import { invariant } from "../../../../errors.ts";
import { copyColumns } from "../../copy-columns/copy-columns.ts";
import {
  applyBoth,
  applyLinear,
  applyNorm,
  applyPieces,
  carriedMatrix,
  type ForwardPass,
  type HiddenRows,
  type LinearPiece,
} from "../../forward-pass.ts";
import { multiplyByGate } from "../../gate/multiply-by-gate.ts";
import type { Activations } from "../../layer-weights.ts";
import { rotate } from "../../rotary/rotate.ts";
import type { MixerForward } from "../mixer-forward.ts";
import { attend, attentionColumns, checkHeadDim, prepareAttention } from "./attend.ts";
import type { Norm } from "../../../../model/weight-description.ts";
import type { Attention } from "../../../../model/mixer-description.ts";

export function attentionForward(attention: Attention): MixerForward {
  return {
    scratch: { what: "Queries, keys and values", columns: attentionColumns(attention).stride },
    rotary: attention.rotary,
    check: () => checkHeadDim(attention),
    prepare: (gpu) => prepareAttention(gpu, { ...attention, ownDim: attention.headDim }),
    mix: async (pass, input, states) => await mixAttention(pass, attention, input, states),
  };
}

/** softmax(q kᵀ) v of all heads, with what the family does to queries and keys before and to the result after. */
async function mixAttention(
  pass: ForwardPass,
  attention: Attention,
  input: Activations,
  states: HiddenRows | null,
): Promise<Activations> {
  const { gpu, batch, workspace, weights, hooks } = pass;
  await project(pass, attention, input);
  await placeHeads(pass, attention);
  const { keys, values, output } = headRuns(pass, attention);
  const isTaker = attention.inputs.kind === "query";
  await carry(pass, attention, states);
  if (!isTaker) await hooks?.onKeyValue?.(attention.module, keys, values, attention.kvHeads);
  const sinks = attention.sinks === null ? null : await weights.vector(attention.sinks);
  const columns = attentionColumns(attention);
  await attend(gpu, batch, { attention, qkv: workspace.scratch, columns, sinks });
  if (attention.gate) await multiplyByGate(gpu, output, columns.gate, "sigmoid");
  return output;
}

/** Hands keys and values on to later layers, or takes those of an earlier one; they lie side by side in the scratch buffer, too. */
async function carry(pass: ForwardPass, attention: Attention, states: HiddenRows | null): Promise<void> {
  const { inputs, kvHeads, headDim, valueDim, carried } = attention;
  if (carried === null || (states === null && inputs.kind !== "query")) return;
  invariant(states, "keys and values of another layer come with the hidden states");
  const columns = kvHeads * (headDim + valueDim);
  const own = { ...headRuns(pass, attention).keys, columns };
  const handed = { ...carriedMatrix(states, carried), columns };
  const [from, to] = inputs.kind === "query" ? [handed, own] : [own, handed];
  await copyColumns(pass.gpu, from, to);
}

type HeadRuns = Readonly<Record<"queries" | "keys" | "values" | "output" | "gate", Activations>>;

/** Queries, keys, values and the result as runs of columns of the scratch buffer. */
function headRuns({ workspace, batch }: ForwardPass, attention: Attention): HeadRuns {
  const { heads, kvHeads, headDim, valueDim } = attention;
  const columns = attentionColumns(attention);
  const run = (offset: number, width: number): Activations => ({
    buffer: workspace.scratch,
    rows: batch.tokens,
    columns: width,
    stride: columns.stride,
    offset,
  });
  return {
    queries: run(0, heads * headDim),
    keys: run(columns.keys, kvHeads * headDim),
    values: run(columns.values, kvHeads * valueDim),
    output: run(columns.output, heads * valueDim),
    gate: run(columns.gate, heads * valueDim),
  };
}

async function project(pass: ForwardPass, attention: Attention, input: Activations): Promise<void> {
  const { inputs, gate: by } = attention;
  const { queries, keys, values, gate } = headRuns(pass, attention);
  if (by?.kind === "separate") await applyLinear(pass, by.linear, input, gate);
  if (inputs.kind === "separate") {
    if (by?.kind === "with-queries") {
      await applyPieces(pass, inputs.query, gatePieces(attention), input, queries);
    } else {
      await applyLinear(pass, inputs.query, input, queries);
    }
    const both = [
      [inputs.key, keys],
      [inputs.value, values],
    ] as const;
    await applyBoth(pass, both, input);
  } else if (inputs.kind === "query") {
    await applyLinear(pass, inputs.query, input, queries);
  } else if (inputs.groups === 1) {
    await applyLinear(pass, inputs.queryKeyValue, input, queries);
  } else {
    await applyPieces(pass, inputs.queryKeyValue, groupPieces(attention, inputs.groups), input, queries);
  }
}

/** Rows of a query Linear that gives each head's queries, then its gate. */
function gatePieces(attention: Attention): LinearPiece[] {
  const { heads, headDim: rows } = attention;
  const { gate } = attentionColumns(attention);
  return Array.from({ length: heads }, (_, head): LinearPiece[] => [
    { firstRow: 2 * head * rows, rows, column: head * rows },
    { firstRow: (2 * head + 1) * rows, rows, column: gate + head * rows },
  ]).flat();
}

/** Rows of a fused Linear whose queries, keys and values come in groups. */
function groupPieces(attention: Attention, groups: number): LinearPiece[] {
  const { heads, kvHeads, headDim, valueDim } = attention;
  const columns = attentionColumns(attention);
  const widths = [(heads / groups) * headDim, (kvHeads / groups) * headDim, (kvHeads / groups) * valueDim];
  const starts = [0, columns.keys, columns.values];
  const pieces: LinearPiece[] = [];
  let firstRow = 0;
  for (let group = 0; group < groups; group++) {
    for (const [part, rows] of widths.entries()) {
      pieces.push({ firstRow, rows, column: (starts[part] ?? 0) + group * rows });
      firstRow += rows;
    }
  }
  return pieces;
}

/** Norms and rotation of queries and keys, in the family's order. */
async function placeHeads(pass: ForwardPass, attention: Attention): Promise<void> {
  if (!attention.normAfterRotary) await normHeads(pass, attention);
  await rotateHeads(pass, attention);
  if (attention.normAfterRotary) await normHeads(pass, attention);
}

async function rotateHeads({ gpu, batch, workspace }: ForwardPass, attention: Attention): Promise<void> {
  const { rotary, heads, kvHeads, headDim } = attention;
  if (!rotary) return;
  // Keys follow the queries in a row, so that both are rotated as one run of heads; those of other layers are rotated.
  const own = attention.inputs.kind === "query" ? 0 : kvHeads;
  const run = { column: 0, heads: heads + own, headStride: headDim };
  const { stride } = attentionColumns(attention);
  const table = workspace.rotaryTable(rotary);
  await rotate(gpu, rotary, { ...run, buffer: workspace.scratch, stride }, batch, table);
}

async function normHeads(pass: ForwardPass, attention: Attention): Promise<void> {
  const { queries, keys, values } = headRuns(pass, attention);
  const normed: [Norm | null, Activations][] = [
    [attention.queryNorm, queries],
    [attention.keyNorm, keys],
    [attention.valueNorm, values],
  ];
  for (const [norm, run] of normed) {
    if (norm) await applyNorm(pass, norm, null, run);
  }
}
