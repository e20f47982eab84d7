import type { Value } from "./encode-model.ts";
import { quantizeInput } from "./quantize-input.ts";
import { type DecoderGraph, type NbitsLayout, vectorInput, weightName } from "./weight-input.ts";
import type { Linear } from "../../model/weight-description.ts";

/** x Wᵀ + b of x (tokens, columns), in the layout that the weight is stored in. */
export function applyLinear(decoder: DecoderGraph, linear: Linear, x: Value): Value {
  const layout = decoder.plan.layout(linear);
  const input = quantizeInput(decoder, linear, x);
  if (layout.kind === "nbits") return multiplyCodes(decoder, linear, layout, input);
  const { rows, columns } = linear;
  const tileRows = Math.max(1, Math.min(rows, Math.floor(decoder.plan.maxInputBytes / (columns * 4))));
  const tiles: Value[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += tileRows) {
    tiles.push(multiplyRows(decoder, linear, input, { firstRow, rows: Math.min(tileRows, rows - firstRow) }));
  }
  const [first = ""] = tiles;
  const y = tiles.length > 1 ? decoder.graph.node("Concat", tiles, { axis: { int: 1 } }) : first;
  return linear.bias === null ? y : decoder.graph.node("Add", [y, biasOf(decoder, linear, linear.bias)]);
}

/** A Linear's bias (rows), taken from a tensor of several where it lies in one; that is declared once. */
function biasOf(decoder: DecoderGraph, { rows, biasPlace }: Linear, tensor: string): Value {
  if (!biasPlace) return vectorInput(decoder, tensor, rows);
  const { graph, weights } = decoder;
  const { shape, first, step } = biasPlace;
  const known = weights.find((weight) => weight.kind === "vector" && weight.tensor === tensor);
  const length = shape.reduce((product, size) => product * size, 1);
  const all = known?.input ?? vectorInput(decoder, tensor, length);
  const ends = [graph.integers([first]), graph.integers([first + rows * step])];
  return graph.node("Slice", [all, ...ends, graph.integers([0]), graph.integers([step])]);
}

export interface RowRange {
  readonly firstRow: number;
  readonly rows: number;
}

/** Some outputs of a Linear, (tokens, rows), by its dequantized weight. */
export function applyRows(decoder: DecoderGraph, linear: Linear, x: Value, range: RowRange): Value {
  const { graph } = decoder;
  const y = multiplyRows(decoder, linear, quantizeInput(decoder, linear, x), range);
  if (linear.bias === null) return y;
  const { firstRow, rows } = range;
  const ends = [graph.integers([firstRow]), graph.integers([firstRow + rows])];
  const bias = graph.node("Slice", [biasOf(decoder, linear, linear.bias), ...ends]);
  return graph.node("Add", [y, bias]);
}

function multiplyRows(decoder: DecoderGraph, linear: Linear, x: Value, range: RowRange): Value {
  return decoder.graph.node("Gemm", [x, rowsInput(decoder, linear, range)], { transB: { int: 1 } });
}

/** Declares rows of a dequantized weight, (rows, columns); the same rows are declared once. */
export function rowsInput(decoder: DecoderGraph, linear: Linear, { firstRow, rows }: RowRange): Value {
  const known = decoder.weights.find(
    (weight) =>
      weight.kind === "rows" &&
      weight.linear === linear &&
      weight.firstRow === firstRow &&
      weight.rows === rows,
  );
  if (known) return known.input;
  const input = weightName(decoder);
  decoder.weights.push({ kind: "rows", input, linear, firstRow, rows });
  return decoder.graph.input(input, "float32", [rows, linear.columns]);
}

/** MatMulNBits on codes as they lie in the file (onnxruntime `docs/ContribOperators.md`). */
function multiplyCodes(decoder: DecoderGraph, linear: Linear, layout: NbitsLayout, x: Value): Value {
  const { graph, weights } = decoder;
  const { rows, columns } = linear;
  const { bits, blockSize, zeroPoints } = layout;
  const blocks = columns / blockSize;
  const declare = (kind: "codes" | "scales" | "zeros") => {
    const input = weightName(decoder);
    weights.push({ kind, input, linear, layout });
    return input;
  };
  const codes = graph.input(declare("codes"), "uint8", [rows, blocks, (blockSize * bits) / 8]);
  const scales = graph.input(declare("scales"), "float32", [rows, blocks]);
  const zeros = zeroPoints
    ? graph.input(declare("zeros"), "uint8", [rows, Math.ceil((blocks * bits) / 8)])
    : "";
  const y = graph.node("MatMulNBits", [x, codes, scales, ...(zeros ? [zeros] : [])], {
    K: { int: columns },
    N: { int: rows },
    bits: { int: bits },
    block_size: { int: blockSize },
  });
  return linear.bias === null ? y : graph.node("Add", [y, biasOf(decoder, linear, linear.bias)]);
}
