// Factors folded into a layer's weights where they lie on the GPU, to the bits that they have when they are folded on the host: nothing
// then has to go there and come back.

import { invariant } from "../errors.ts";
import { DTYPE_BITS, isFloatDtype, widenToFloat32 } from "../formats/numbers/dtype.ts";
import type { Fold } from "../formats/weights/fold.ts";
import { DTYPE_CODE } from "../gpu/elements/dtype-code.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { kernel, spreadWorkgroups } from "../gpu/kernel.ts";
import { bufferBytes, type LedgerBuffer } from "../gpu/memory.ts";
import numberFormats from "../gpu/elements/number-formats.wgsl?raw";
import type { UploadRing } from "../gpu/staging/upload-ring.ts";
import { struct } from "../gpu/struct.ts";
import type { Linear } from "../model/weight-description.ts";
import code from "./fold-words.wgsl?raw";
import type { HostLayer } from "./host-layer.ts";
import type { OnloadedLayer, RowTile } from "./layer-weights.ts";

const WORKGROUP = 64;

export const foldKernel = kernel({
  name: "onload.fold-words",
  code: [numberFormats, code],
  params: struct({ first_word: "u32", end_word: "u32", columns: "u32", first_row: "u32", dtype: "u32" }),
  bindings: { factors: "read", words: "read_write" },
});

/** GPU bytes that folding into these Linears takes beside them; the planner's figure. */
export function foldBytes(linears: readonly Linear[]): number {
  return bufferBytes(Math.max(0, ...linears.map(({ rows, columns }) => (rows + columns) * 4)));
}

/**
 * True if all of these folds can be made on the GPU where they are of Linears' weights: one of a kind for each tensor, as one modifier
 * gives them, and of a dtype that reaches as far as any factor takes it.
 */
export function canFoldOnloaded(
  host: Pick<HostLayer, "tensors">,
  linears: readonly Linear[],
  folds: readonly Fold[],
): boolean {
  const weights = new Map(linears.map(({ source }) => [source.tensor, source]));
  const seen = new Set<string>();
  return folds.every(({ tensor, axis, divides, offset }) => {
    const source = weights.get(tensor);
    if (!source) return true;
    const key = `${axis} ${tensor}`;
    const isFirst = !seen.has(key);
    seen.add(key);
    const isPlain = !source.turned && host.tensors.get(tensor)?.dtype !== "F16";
    return isFirst && isPlain && offset === 0 && divides === (axis === "rows");
  });
}

/**
 * Folds into resident weights, and takes vectors anew from the host, where they are folded.
 * @param folds such that `canFoldOnloaded`
 */
export async function foldOnloaded(
  { gpu, uploads, host }: { readonly gpu: Gpu; readonly uploads: UploadRing; readonly host: HostLayer },
  weights: OnloadedLayer,
  { linears, vectors }: { readonly linears: readonly Linear[]; readonly vectors: readonly string[] },
  folds: readonly Fold[],
): Promise<void> {
  const byTensor = Map.groupBy(folds, ({ tensor }) => tensor);
  for (const name of vectors.filter((vector) => byTensor.has(vector))) {
    const tensor = host.tensors.get(name);
    invariant(tensor && isFloatDtype(tensor.dtype), `${name} is a floating-point tensor of the layer`);
    const floats = widenToFloat32(tensor.dtype, tensor.bytes.read(0, tensor.bytes.byteLength));
    await uploads.write(new Uint8Array(floats.buffer), await weights.vector(name));
  }
  using factors = await gpu.memory.allocate({ label: "factors of a Linear", bytes: foldBytes(linears) });
  for (const linear of linears) {
    const own = byTensor.get(linear.source.tensor);
    if (!own) continue;
    await uploads.write(new Uint8Array(factorsOf(linear, own).buffer), factors);
    for await (const tile of weights.rowTiles(linear.module)) await foldTile(gpu, linear, tile, factors);
  }
}

/** A factor for each column, then a divisor for each row. */
function factorsOf({ rows, columns, source }: Linear, folds: readonly Fold[]): Float32Array<ArrayBuffer> {
  const joined = new Float32Array(columns + rows).fill(1);
  for (const { axis, factors } of folds) {
    if (axis === "columns") joined.set(factors, 0);
    else joined.set(factors.subarray(source.firstRow, source.firstRow + rows), columns);
  }
  return joined;
}

async function foldTile(
  gpu: Gpu,
  { columns }: Linear,
  { weight, dtype, stride, firstRow, rows }: RowTile,
  factors: LedgerBuffer,
): Promise<void> {
  invariant(stride === columns, "rows lie on the GPU as in the source");
  const words = (rows * columns * DTYPE_BITS[dtype]) / 32;
  for (const { first, end } of gpu.queue.split(foldKernel, words, 1)) {
    await gpu.queue.run(foldKernel, {
      params: { first_word: first, end_word: end, columns, first_row: firstRow, dtype: DTYPE_CODE[dtype] },
      buffers: { factors, words: weight },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}
