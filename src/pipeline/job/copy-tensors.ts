// What a step writes without the GPU: tensors that are carried through, and the shapes that packing hides.

import type { FileRange } from "../../formats/files/file-ranges.ts";
import { mapLimited } from "../../map-limited.ts";
import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import type { TileTraffic } from "./traffic.ts";

/** Tensors pass through host memory in pieces of this size, */
const COPY_BYTES = 16 * 1024 ** 2;
/** one of which is read while another one is written. */
const PIECES_AT_ONCE = 2;

/**
 * Copies tensors byte for byte, in their order, up to the first piece that cannot be copied.
 * @param due resolves when a piece may be read, and rejects when none will be
 */
export async function copyTensors(
  tensors: readonly SourceTensor[],
  traffic: TileTraffic,
  due: (range: FileRange) => Promise<void> = async () => await Promise.resolve(),
): Promise<void> {
  const copy = async ({ name, offset, range }: ReturnType<typeof piecesOf>[number]) => {
    await due(range);
    await traffic.checkpoint();
    const bytes = await traffic.read(range);
    traffic.write(name, offset, bytes);
    traffic.recycle(bytes);
    traffic.finished(range);
  };
  await mapLimited(PIECES_AT_ONCE, tensors.flatMap(piecesOf), async (piece) => {
    await traffic.joint.part(async () => await copy(piece));
  });
}

function piecesOf({ name, file: path, start, end }: SourceTensor) {
  return Array.from({ length: Math.ceil((end - start) / COPY_BYTES) }, (_, index) => {
    const offset = index * COPY_BYTES;
    const first = start + offset;
    return { name, offset, range: { path, start: first, end: Math.min(first + COPY_BYTES, end) } };
  });
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
