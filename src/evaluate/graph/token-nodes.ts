// Token blocks, and what each layer gives them for the token itself.

import type { DecoderDescription, LayerDescription, TokenInputs } from "../../model/decoder-description.ts";
import { gatedUnit } from "./activation-nodes.ts";
import type { Value } from "./encode-model.ts";
import { applyLinear, applyRows } from "./linear-nodes.ts";
import { normalize } from "./norm-nodes.ts";
import type { DecoderGraph } from "./weight-input.ts";

/** Inputs of graphs with token blocks. */
export const TOKEN_INPUTS = {
  /** float32 (tokens, hidden): the first hidden states. */
  embedded: "embedded",
  /** float32 (tokens, size), or of all layers side by side: rows of the table, multiplied. */
  rows: "token_rows",
} as const;

/** hidden + norm(projection(activation(gate hidden) · given)), or hidden if the layer has no such block. */
export function addTokenBlock(
  decoder: DecoderGraph,
  { tokenBlock, hiddenSize }: LayerDescription,
  hidden: Value,
  given: Value | null,
): Value {
  if (!tokenBlock || given === null) return hidden;
  const { gate, activation, projection, norm } = tokenBlock;
  const inner = gatedUnit(decoder, activation, applyLinear(decoder, gate, hidden), given);
  const output = normalize(decoder, norm, applyLinear(decoder, projection, inner), hiddenSize);
  return decoder.graph.node("Add", [hidden, output]);
}

/** What a layer's block is given, in a graph of that layer alone. */
export function givenTo(
  decoder: DecoderGraph,
  { tokenInputs, hiddenSize }: DecoderDescription,
  layer: number,
): Value | null {
  if (!tokenInputs) return null;
  const embedded = decoder.graph.input(TOKEN_INPUTS.embedded, "float32", ["tokens", hiddenSize]);
  const rows = decoder.graph.input(TOKEN_INPUTS.rows, "float32", ["tokens", tokenInputs.size]);
  return inputOf(decoder, tokenInputs, { embedded, rows, layer });
}

/** What the blocks of all layers are given, in a graph of the whole decoder. */
export function givenToAll(
  decoder: DecoderGraph,
  { tokenInputs, layers }: DecoderDescription,
  embedded: Value,
): readonly Value[] {
  if (!tokenInputs) return [];
  const { graph } = decoder;
  const { size, projection } = tokenInputs;
  const all = graph.input(TOKEN_INPUTS.rows, "float32", ["tokens", projection.rows]);
  const widths = graph.integers(layers.map(() => size));
  const parts = graph.nodes("Split", [all, widths], layers.length, { axis: { int: 1 } });
  return parts.map((rows, layer) => inputOf(decoder, tokenInputs, { embedded, rows, layer }));
}

function inputOf(
  decoder: DecoderGraph,
  { size, projection, scale, norm, factor }: TokenInputs,
  { embedded, rows, layer }: { readonly embedded: Value; readonly rows: Value; readonly layer: number },
): Value {
  const { graph } = decoder;
  const projected = applyRows(decoder, projection, embedded, { firstRow: layer * size, rows: size });
  const normed = normalize(decoder, norm, graph.node("Mul", [projected, graph.floats(scale)]), size);
  return graph.node("Mul", [graph.node("Add", [normed, rows]), graph.floats(factor)]);
}
