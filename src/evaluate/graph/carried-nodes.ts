// Rows of hidden states that carry keys and values from one layer's graph to another's.

import type { DecoderDescription } from "../../model/decoder-description.ts";
import type { Value } from "./encode-model.ts";
import type { DecoderGraph } from "./weight-input.ts";

interface Piece {
  readonly column: number;
  readonly keys: number;
  readonly values: number;
}

/** What rows carry behind the hidden states, in order. */
function piecesOf({ layers }: DecoderDescription): Piece[] {
  const found = new Map<number, Piece>();
  for (const mixer of layers.flatMap(({ mixers }) => mixers)) {
    if (mixer.kind !== "attention" || mixer.carried === null) continue;
    const { carried: column, kvHeads, headDim, valueDim } = mixer;
    found.set(column, { column, keys: kvHeads * headDim, values: kvHeads * valueDim });
  }
  return [...found.values()].toSorted((a, b) => a.column - b.column);
}

/** The hidden states of rows; what stands behind them is the decoder's from now on. */
export function takeRows(decoder: DecoderGraph, description: DecoderDescription, rows: Value): Value {
  const { graph, carried } = decoder;
  const pieces = piecesOf(description);
  if (pieces.length === 0) return rows;
  const widths = [description.hiddenSize, ...pieces.flatMap(({ keys, values }) => [keys, values])];
  const [hidden = "", ...parts] = graph.nodes("Split", [rows, graph.integers(widths)], widths.length, {
    axis: { int: 1 },
  });
  for (const [index, { column }] of pieces.entries()) {
    carried.set(column, { keys: parts[2 * index] ?? "", values: parts[2 * index + 1] ?? "" });
  }
  return hidden;
}

/** Hidden states with what is carried behind them. */
export function putRows(decoder: DecoderGraph, description: DecoderDescription, hidden: Value): Value {
  const { graph, carried } = decoder;
  const pieces = piecesOf(description).map(({ column }) => carried.get(column));
  if (pieces.length === 0) return hidden;
  const parts = pieces.flatMap((piece) => (piece ? [piece.keys, piece.values] : []));
  return graph.node("Concat", [hidden, ...parts], { axis: { int: 1 } });
}
