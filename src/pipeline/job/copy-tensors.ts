// What a step writes without the GPU: tensors that are carried through, and the shapes that packing hides.

import type { TensorSpec } from "../../formats/safetensors.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import type { SourceTensor } from "../../plan/read-headers.ts";
import type { TileTraffic } from "./traffic.ts";

/** Tensors pass through host memory in pieces of this size. */
const COPY_BYTES = 16 * 1024 ** 2;

/** Copies tensors byte for byte, one after the other. */
export async function copyTensors(tensors: readonly SourceTensor[], traffic: TileTraffic): Promise<void> {
  for (const tensor of tensors) {
    for (let start = tensor.start; start < tensor.end; start += COPY_BYTES) {
      await traffic.checkpoint();
      const end = Math.min(start + COPY_BYTES, tensor.end);
      const range = { path: tensor.file, start, end };
      const bytes = await traffic.read(range);
      traffic.write(tensor.name, start - tensor.start, bytes);
      traffic.recycle(bytes);
      traffic.finished(range);
    }
  }
}

/** True for what the plan knows of a packed weight, and no quantizer writes. */
export function isShape({ name }: TensorSpec): boolean {
  return name.endsWith(".weight_shape");
}

/** `weight_shape` is int64 (rows, columns): the packed tensor does not tell its number of columns. */
export function writeShape(task: QuantizeTask, traffic: TileTraffic): void {
  const shape = task.outputs.find(isShape);
  if (!shape) return;
  const values = BigInt64Array.of(BigInt(task.rows), BigInt(task.columns));
  traffic.write(shape.name, 0, new Uint8Array(values.buffer));
}
