// A served model with some of its bytes replaced.

import { parseHeader, parseHeaderLength } from "../src/formats/safetensors/safetensors.ts";
import { memoryModel, type ServedFile, type ServedModel } from "../scripts/model-server/served-model.ts";

/** The same model with other or more small files. */
export function withFiles(
  model: ServedModel,
  contents: Readonly<Record<string, string | Uint8Array>>,
): ServedModel {
  return new Map([...model, ...memoryModel(contents)]);
}

/** The same model, of one BF16 file, in which the first value of a tensor is NaN. */
export async function withNaN(model: ServedModel, tensor: string): Promise<ServedModel> {
  const path = "model.safetensors";
  const file = model.get(path);
  if (!file) throw new Error(`The model has no ${path}`);
  const bytes = await readAll(file);
  const length = parseHeaderLength(path, bytes, bytes.byteLength);
  const entry = parseHeader(path, bytes.subarray(8, 8 + length), bytes.byteLength).find(
    ({ name }) => name === tensor,
  );
  if (entry?.dtype !== "BF16") throw new Error(`The model has no ${tensor} of BF16`);
  new DataView(bytes.buffer).setUint16(entry.start, 0x7fc0, true);
  return withFiles(model, { [path]: bytes });
}

/** Headers are read by shorter requests than these. */
const HEADER_BYTES = 256 * 1024;

/** The same model, of which the weights of a file come once they may, or never: a job that gets so far waits. */
export function withoutWeights(
  model: ServedModel,
  path: string,
  until: Promise<void> = new Promise(() => undefined),
): ServedModel {
  const file = model.get(path);
  if (!file) throw new Error(`The model has no ${path}`);
  const read = async function* (start: number, end: number) {
    if (end - start > HEADER_BYTES) await until;
    yield* file.read(start, end);
  };
  return new Map([...model, [path, { ...file, read }]]);
}

async function readAll(file: ServedFile): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(file.bytes);
  let at = 0;
  for await (const piece of file.read(0, file.bytes)) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}
