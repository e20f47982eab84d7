// One decoder layer in host memory, and the rows of its Linears there.

import { invariant, UnsupportedModelError } from "../errors.ts";
import { DTYPE_BITS, type FloatDtype, isFloatDtype, type Dtype } from "../formats/numbers/dtype.ts";
import { turnOver } from "../formats/weights/turn-over.ts";
import { type HostBytes, memoryBytes, partOfBytes } from "./host-bytes.ts";
import type { Linear } from "../model/weight-description.ts";

/** One layer's tensors on the host; modifiers fold factors into them, and quantized Linears are replaced by what their codes mean. */
export interface HostLayer {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** What has taken the place of Linears' weights, by module. */
  readonly replaced: Map<string, HostBytes>;
  /** Room for more bytes that live as long as the layer does; what lies there at first is not said. */
  allocate(bytes: number): HostBytes;
}

export interface HostTensor {
  readonly dtype: Dtype;
  /** Of a matrix the elements of a row; 1 of a vector. */
  readonly columns: number;
  readonly bytes: HostBytes;
}

/** A layer of tensors that lie in the page's memory. */
export function memoryLayer(
  tensors: Iterable<
    readonly [string, Omit<HostTensor, "bytes"> & { readonly bytes: Uint8Array<ArrayBuffer> }]
  >,
): HostLayer {
  const held = Array.from(
    tensors,
    ([name, tensor]) => [name, { ...tensor, bytes: memoryBytes(tensor.bytes) }] as const,
  );
  return {
    tensors: new Map(held),
    replaced: new Map(),
    allocate: (bytes) => memoryBytes(new Uint8Array(bytes)),
  };
}

/** Host bytes of some rows of a Linear's weight, to be read only. */
export function linearRows(
  host: HostLayer,
  linear: Linear,
  firstRow: number,
  rows: number,
): Uint8Array<ArrayBuffer> {
  const { turned, shape } = linear.source;
  if (turned && !host.replaced.has(linear.module)) {
    const { dtype, bytes } = floatTensor(host, linear.source.tensor);
    const bytesEach = DTYPE_BITS[dtype] / 8;
    const part = { ...turned, bytesEach, width: shape.at(-1) ?? 0, columns: linear.columns };
    const matrixBytes = part.width * bytesEach;
    const first = linear.source.firstRow * matrixBytes;
    return turnOver(bytes.read(first, first + part.columns * matrixBytes), part, firstRow, rows);
  }
  const weight = linearWeight(host, linear);
  const rowBytes = weight.byteLength / linear.rows;
  return weight.read(firstRow * rowBytes, (firstRow + rows) * rowBytes);
}

/** The bytes of a Linear's weight, row after row: what is written there changes the layer. */
export function linearWeight(host: HostLayer, linear: Linear): HostBytes {
  const replaced = host.replaced.get(linear.module);
  if (replaced) return replaced;
  const { tensor, turned, firstRow } = linear.source;
  invariant(!turned, `${linear.module} does not lie turned over`);
  const { dtype, bytes } = floatTensor(host, tensor);
  const rowBytes = (linear.columns * DTYPE_BITS[dtype]) / 8;
  return partOfBytes(bytes, firstRow * rowBytes, linear.rows * rowBytes);
}

/** @throws UnsupportedModelError if the tensor is none of floating-point numbers */
export function floatTensor(host: HostLayer, name: string): { dtype: FloatDtype; bytes: HostBytes } {
  const tensor = host.tensors.get(name);
  invariant(tensor, `${name} is a tensor of the layer`);
  const { dtype, bytes } = tensor;
  if (!isFloatDtype(dtype)) {
    throw new UnsupportedModelError(
      `${name} is ${dtype}; calibration needs bfloat16, float16 or float32 weights. The data-free recipes work.`,
    );
  }
  return { dtype, bytes };
}
