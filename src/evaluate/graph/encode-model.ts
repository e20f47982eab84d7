// The parts of an ONNX graph as a ModelProto.

import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType as DataType,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";

/** ONNX 1.14; onnxruntime adds its own operators beside the standard's under "com.microsoft". */
const IR_VERSION = 9n;
const OPSET_VERSION = 20n;
const CONTRIB_DOMAIN = "com.microsoft";

/** Operators of onnxruntime that the standard lacks (onnxruntime `docs/ContribOperators.md`). */
const CONTRIB_OPERATORS = new Set(["GroupQueryAttention", "MatMulNBits", "QuickGelu", "RotaryEmbedding"]);

const ELEMENT_TYPES = {
  float32: DataType.FLOAT,
  int32: DataType.INT32,
  int64: DataType.INT64,
  uint8: DataType.UINT8,
} as const;

export type ElementType = keyof typeof ELEMENT_TYPES;

/** A size, or the name of one that differs from run to run. */
export type Dimension = number | string;

export interface GraphValue {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly Dimension[];
}

/** The name of a value inside the graph; "" stands for an optional input that is left out. */
export type Value = string;

/** ONNX tells integers from floats by the attribute's type, not by its value. */
export type Attribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly text: string };

export type Attributes = Readonly<Record<string, Attribute>>;

/** A node of `operator`, in the standard's domain or in onnxruntime's. */
export function nodeProto(
  name: string,
  operator: string,
  values: { readonly inputs: readonly Value[]; readonly outputs: readonly Value[] },
  attributes: Attributes,
): NodeProto {
  return create(NodeProtoSchema, {
    name,
    opType: operator,
    domain: CONTRIB_OPERATORS.has(operator) ? CONTRIB_DOMAIN : "",
    input: [...values.inputs],
    output: [...values.outputs],
    attribute: Object.entries(attributes).map(([key, value]) => attributeProto(key, value)),
  });
}

/** A constant: one number as a scalar, or a vector. */
export function floatsProto(name: string, values: readonly number[] | number): TensorProto {
  return typeof values === "number"
    ? create(TensorProtoSchema, { name, dataType: DataType.FLOAT, floatData: [values] })
    : create(TensorProtoSchema, {
        name,
        dataType: DataType.FLOAT,
        dims: [BigInt(values.length)],
        floatData: [...values],
      });
}

export function integersProto(name: string, values: readonly number[]): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: DataType.INT64,
    dims: [BigInt(values.length)],
    int64Data: values.map(BigInt),
  });
}

function attributeProto(name: string, value: Attribute): AttributeProto {
  if ("int" in value) {
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value.int) });
  }
  if ("ints" in value) {
    return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.ints.map(BigInt) });
  }
  if ("float" in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float });
  return create(AttributeProtoSchema, {
    name,
    type: AttributeType.STRING,
    s: new TextEncoder().encode(value.text),
  });
}

export interface GraphParts {
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  readonly nodes: NodeProto[];
  readonly initializers: TensorProto[];
}

/** The graph as a model file. */
export function encodeModel(name: string, { inputs, outputs, nodes, initializers }: GraphParts) {
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: "layerpress",
    opsetImport: [
      create(OperatorSetIdProtoSchema, { domain: "", version: OPSET_VERSION }),
      create(OperatorSetIdProtoSchema, { domain: CONTRIB_DOMAIN, version: 1n }),
    ],
    graph: create(GraphProtoSchema, {
      name,
      node: nodes,
      initializer: initializers,
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
    }),
  });
  return toBinary(ModelProtoSchema, model);
}

function valueInfo({ name, type, dims }: GraphValue): ValueInfoProto {
  const dim = dims.map((size) =>
    typeof size === "number"
      ? { value: { case: "dimValue" as const, value: BigInt(size) } }
      : { value: { case: "dimParam" as const, value: size } },
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType: ELEMENT_TYPES[type], shape: { dim } } } },
  });
}
