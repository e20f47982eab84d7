// Quantized models of a few tensors in memory, opened as what they mean.

import type { Dtype } from "../../formats/numbers/dtype.ts";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { type DequantizedTensors, dequantizedTensors } from "../../plan/checkpoint/dequantized-tensors.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { dequantizingSource } from "../../pipeline/inspect/dequantizing-source.ts";
import type { RemoteSource } from "../../pipeline/inspect/remote-source.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";

export const FILE = "model.safetensors";

/** A tensor of a file. */
export interface Part {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A tensor with the bytes of an array. */
export function part(name: string, dtype: Dtype, shape: readonly number[], values: ArrayBufferView): Part {
  const { buffer, byteOffset, byteLength } = values;
  return { name, dtype, shape, bytes: new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength)) };
}

/** Parts one after the other in a file. */
function layOut(parts: readonly Part[]): { tensors: SourceTensor[]; bytes: Uint8Array<ArrayBuffer> } {
  const tensors: SourceTensor[] = [];
  for (const { name, dtype, shape } of parts) {
    const start = tensors.at(-1)?.end ?? 0;
    tensors.push({
      name,
      dtype,
      shape,
      start,
      end: start + tensorBytes({ name, dtype, shape }),
      file: FILE,
    });
  }
  const bytes = new Uint8Array(tensors.at(-1)?.end ?? 0);
  for (const [index, { bytes: own }] of parts.entries()) bytes.set(own, tensors[index]?.start);
  return { tensors, bytes };
}

/** A source that dequantizes, and what it asked of the one behind it. */
export interface Opened {
  readonly dequantized: DequantizedTensors;
  readonly prefetched: FileRange[];
  readonly evicted: FileRange[];
  readonly source: RemoteSource;
  /** Virtual file of the only module. */
  readonly path: string;
}

/** A file of these parts as a model that was quantized by `method`. */
export async function openDequantized(
  parts: readonly Part[],
  config: object,
  method: string,
): Promise<Opened> {
  const { tensors, bytes } = layOut(parts);
  const read = async ({ start, end }: { start: number; end: number }) =>
    await Promise.resolve(bytes.slice(start, end));
  const dequantized = await dequantizedTensors({
    label: "acme/tiny",
    tensors,
    config: { ...config },
    method,
    read,
  });
  const prefetched: FileRange[] = [];
  const evicted: FileRange[] = [];
  const remote = {
    read,
    prefetch: async (ranges: readonly FileRange[]) => await Promise.resolve(void prefetched.push(...ranges)),
    evict: async (ranges: readonly FileRange[]) => await Promise.resolve(void evicted.push(...ranges)),
    progress: async () => await Promise.resolve("progress"),
  } as unknown as RemoteSource;
  const [path = ""] = dequantized.modules.keys();
  const source = dequantizingSource(remote, dequantized.modules, [{ path: FILE, start: -8, end: 0 }]);
  return { dequantized, prefetched, evicted, source, path };
}
