import { referenceGate } from "../../gate/reference.ts";
import { referenceRotary } from "../../rotary/reference.ts";
import { beside, ungroup } from "../reference-columns.ts";
import type { MixerSteps, ReferenceMixer } from "../reference-mixer.ts";
import { attentionColumns } from "./attend.ts";
import { referenceAttention } from "./reference.ts";
import type { Attention } from "../../../../model/mixer-description.ts";

/** Attention from the block's input to the output Linear's, in float64. */
export function referenceAttentionMixer(
  mixer: Attention,
  x: Float64Array,
  steps: MixerSteps,
): ReferenceMixer {
  const { heads, kvHeads, headDim, valueDim, rotary, normAfterRotary } = mixer;
  const { queries, keys, values: projected, gate } = project(steps, mixer, x);
  const normed = (rows: Float64Array, norm: typeof mixer.queryNorm) => steps.norm(norm, rows);
  const values = normed(projected, mixer.valueNorm);
  const rotated = (rows: Float64Array, count: number) =>
    rotary ? referenceRotary(rotary, { heads: count, headDim, first: 0 }, rows, steps.lengths) : rows;
  const place = (rows: Float64Array, norm: typeof mixer.queryNorm, count: number) =>
    normAfterRotary ? normed(rotated(rows, count), norm) : rotated(normed(rows, norm), count);
  // Those of another layer are normed and rotated already.
  const placedKeys = mixer.inputs.kind === "query" ? keys : place(keys, mixer.keyNorm, kvHeads);
  const columns = attentionColumns(mixer);
  const rest = columns.stride - columns.values - kvHeads * valueDim;
  const tokens = x.length / (mixer.output.rows || 1);
  const qkv = beside([
    [place(queries, mixer.queryNorm, heads), heads * headDim],
    [placedKeys, kvHeads * headDim],
    [values, kvHeads * valueDim],
    ...(rest > 0 ? [[new Float64Array(tokens * rest), rest] as const] : []),
  ]);
  const sinks = mixer.sinks === null ? null : steps.vector(mixer.sinks);
  const attended = referenceAttention(mixer, qkv, steps.lengths, columns, sinks);
  const gated = gate ? referenceGate(attended, gate, "sigmoid") : attended;
  return { values: gated, cache: { keys: placedKeys, values } };
}

function project(steps: MixerSteps, { inputs, gate: by, ...mixer }: Attention, x: Float64Array) {
  const { heads, kvHeads, headDim, valueDim } = mixer;
  const gate = by?.kind === "separate" ? steps.apply(by.linear, x) : null;
  if (inputs.kind === "fused") {
    const widths = [heads * headDim, kvHeads * headDim, kvHeads * valueDim];
    const parts = ungroup(
      steps.apply(inputs.queryKeyValue, x),
      inputs.groups,
      widths.map((width) => width / inputs.groups),
    );
    const [queries = x, keys = x, values = x] = parts;
    return { queries, keys, values, gate };
  }
  if (inputs.kind === "query") {
    const column = mixer.carried ?? 0;
    const width = kvHeads * headDim;
    return {
      queries: steps.apply(inputs.query, x),
      keys: steps.carried(column, width),
      values: steps.carried(column + width, kvHeads * valueDim),
      gate,
    };
  }
  const keys = steps.apply(inputs.key, x);
  const values = steps.apply(inputs.value, x);
  const all = steps.apply(inputs.query, x);
  if (by?.kind !== "with-queries") return { queries: all, keys, values, gate };
  const [queries = x, gates = x] = ungroup(all, heads, [headDim, headDim]);
  return { queries, keys, values, gate: gates };
}
