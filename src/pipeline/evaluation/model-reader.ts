// A model's tensors by name, and rows of its tables, over ranges of its files.

import { openEmbedding } from "../../calibrate/forward/embed-tokens.ts";
import { invariant, UnsupportedModelError } from "../../errors.ts";
import type { StoredModel } from "../../evaluate/weights/stored-model.ts";
import { type Dtype, isFloatDtype } from "../../formats/numbers/dtype.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import type { ModelTraffic } from "./model-traffic.ts";

/** Rows of the embedding that are held in memory while sequences are embedded. */
export const MAX_EMBEDDING_BYTES = 2 ** 30;

export interface ReadModel {
  readonly description: DecoderDescription;
  readonly byName: ReadonlyMap<string, SourceTensor>;
  readonly schemeOf: StoredModel["schemeOf"];
  readonly announce: ModelTraffic["announce"];
}

/** @param readRange reads a range of a tensor, in bytes of its file */
export function modelReader(
  { description, byName, schemeOf, announce }: ReadModel,
  readRange: (tensor: SourceTensor, range: FileRange) => Promise<Uint8Array<ArrayBuffer>>,
): StoredModel {
  const read: StoredModel["read"] = async (name, span) => {
    const tensor = byName.get(name);
    invariant(tensor, `the model has ${name}`);
    const { file: path, start, end } = tensor;
    if (!span) return await readRange(tensor, { path, start, end });
    return await readRange(tensor, { path, start: start + span.start, end: start + span.end });
  };
  const from = { dtypeOf: (name: string) => byName.get(name)?.dtype, read, rows: description.vocabSize };
  return {
    description,
    tensor: (name) => byName.get(name) ?? null,
    read,
    schemeOf,
    announce,
    async embed(sequences) {
      const { embedding, hiddenSize } = description;
      const states = await openTable(from, embedding, hiddenSize, sequences.flat());
      return await Promise.all(sequences.map(async (ids) => await states(ids)));
    },
    async tokenRows(ids, layer) {
      const { tokenInputs } = description;
      invariant(tokenInputs, "the model's layers are given inputs for tokens");
      const { table, projection, size } = tokenInputs;
      const all = await (await openTable(from, table, projection.rows, ids))(ids);
      return layer === null ? all : columnsOf(all, projection.rows, { first: layer * size, count: size });
    },
  };
}

interface TableReader {
  readonly dtypeOf: (tensor: string) => Dtype | undefined;
  readonly read: StoredModel["read"];
  readonly rows: number;
}

/** Looks ids up in a table, each row times the table's multiplier. */
async function openTable(
  { dtypeOf, read, rows }: TableReader,
  { tensor, multiplier }: { readonly tensor: string; readonly multiplier: number },
  columns: number,
  ids: readonly number[],
) {
  const dtype = dtypeOf(tensor);
  if (!dtype || !isFloatDtype(dtype)) {
    throw new UnsupportedModelError(
      `The embedding "${tensor}" is ${dtype ?? "not there"}; evaluation reads it in BF16, F16 or F32.`,
    );
  }
  const table = { dtype, rows, columns, multiplier };
  const readTable = async (start: number, end: number) => await read(tensor, { start, end });
  return await openEmbedding({ ...table, read: readTable }, new Set(ids), MAX_EMBEDDING_BYTES);
}

/** Some columns of rows of `width` values. */
function columnsOf(
  rows: Float32Array<ArrayBuffer>,
  width: number,
  { first, count }: { readonly first: number; readonly count: number },
): Float32Array<ArrayBuffer> {
  const all = rows.length / width;
  const part = new Float32Array(all * count);
  for (let row = 0; row < all; row++) {
    part.set(rows.subarray(row * width + first, row * width + first + count), row * count);
  }
  return part;
}
