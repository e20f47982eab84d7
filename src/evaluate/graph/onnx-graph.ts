// An ONNX graph, put together node by node. Weights are inputs, never initializers: they stay in buffers of ours, and one
// session serves all layers of one shape.

import type { NodeProto, TensorProto } from "onnx-buf";
import {
  type Attributes,
  type Dimension,
  type ElementType,
  encodeModel,
  floatsProto,
  type GraphValue,
  integersProto,
  nodeProto,
  type Value,
} from "./encode-model.ts";

export interface OnnxGraph {
  /** What a run is given, in the order of declaration. */
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  /** Declares an input; one of the same name is declared once. */
  input(name: string, type: ElementType, dims: readonly Dimension[]): Value;
  /** Adds a node with one output and returns it. */
  node(operator: string, inputs: readonly Value[], attributes?: Attributes): Value;
  /** Adds a node with `count` outputs. */
  nodes(operator: string, inputs: readonly Value[], count: number, attributes?: Attributes): readonly Value[];
  /** A number as a scalar, or several as a vector. */
  floats(values: readonly number[] | number): Value;
  /** A list of integers: a shape, axes, or lengths of splits. */
  integers(values: readonly number[]): Value;
  /** Declares that a value is an output under a name of its own. */
  output(name: string, type: ElementType, dims: readonly Dimension[], value: Value): void;
  /** The graph as a model file. */
  encode(): Uint8Array<ArrayBuffer>;
}

export function createGraph(name: string): OnnxGraph {
  const inputs: GraphValue[] = [];
  const outputs: GraphValue[] = [];
  const nodes: NodeProto[] = [];
  const initializers = new Map<string, TensorProto>();
  let values = 0;
  const add = (
    operator: string,
    from: readonly Value[],
    to: readonly Value[],
    attributes: Attributes = {},
  ) => {
    nodes.push(nodeProto(`${nodes.length} ${operator}`, operator, { inputs: from, outputs: to }, attributes));
    return to;
  };
  const newValues = (count: number) => Array.from({ length: count }, () => `v${values++}`);
  const constant = (key: string, make: (key: string) => TensorProto) => {
    if (!initializers.has(key)) initializers.set(key, make(key));
    return key;
  };
  return {
    inputs,
    outputs,
    input(inputName, type, dims) {
      if (!inputs.some((known) => known.name === inputName)) inputs.push({ name: inputName, type, dims });
      return inputName;
    },
    node: (operator, from, attributes) => add(operator, from, newValues(1), attributes)[0] ?? "",
    nodes: (operator, from, count, attributes) => add(operator, from, newValues(count), attributes),
    floats: (list) => constant(`floats ${JSON.stringify(list)}`, (key) => floatsProto(key, list)),
    integers: (list) => constant(`integers ${list.join(" ")}`, (key) => integersProto(key, list)),
    output(outputName, type, dims, value) {
      outputs.push({ name: outputName, type, dims });
      add("Identity", [value], [outputName]);
    },
    encode: () => encodeModel(name, { inputs, outputs, nodes, initializers: [...initializers.values()] }),
  };
}
