// The ids that occur in samples, and where a checkpoint holds what layers are given for them.

import { type FloatDtype, widenToFloat32 } from "../../../formats/numbers/dtype.ts";
import type { DecoderDescription, TokenInputs } from "../../../model/decoder-description.ts";
import { type EmbeddingTable, openEmbedding } from "../embed-tokens.ts";
import type { TokenInputSource } from "./token-inputs.ts";

/** A tensor of the checkpoint: its dtype, and bytes [start, end) of it. */
export interface TensorReader {
  readonly dtype: FloatDtype;
  readonly read: (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;
}

/** The distinct ids of sequences in rising order, and the place of each among them. */
export function distinctIds(sequences: Iterable<Iterable<number>>): {
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly placeOf: (id: number) => number;
} {
  const found = new Set<number>();
  for (const sequence of sequences) for (const id of sequence) found.add(id);
  const ids = Uint32Array.from(found).toSorted();
  const places = new Map(Array.from(ids, (id, place) => [id, place]));
  return { ids, placeOf: (id) => places.get(id) ?? 0 };
}

/**
 * Reads token inputs of a checkpoint; rows of both tables are kept if they fit into `limitBytes` each.
 * @throws CalibrationError if an id is not in the tables
 */
export async function openTokenInputSource(
  { embedding, hiddenSize, vocabSize }: DecoderDescription,
  inputs: TokenInputs,
  ids: Uint32Array<ArrayBuffer>,
  tensor: (name: string) => TensorReader,
  limitBytes: number,
): Promise<TokenInputSource> {
  const { size, projection, table, norm } = inputs;
  const open = async (name: string, columns: number, multiplier: number) => {
    const opened: EmbeddingTable = { ...tensor(name), rows: vocabSize, columns, multiplier };
    return await openEmbedding(opened, new Set(ids), limitBytes);
  };
  const embedded = await open(embedding.tensor, hiddenSize, embedding.multiplier);
  const given = await open(table.tensor, projection.rows, 1);
  return {
    ids: ids.length,
    states: async (first, end) => await embedded(ids.subarray(first, end)),
    async rows(layer, first, end) {
      const all = await given(ids.subarray(first, end));
      const own = new Float32Array((end - first) * size);
      for (let row = 0; row < end - first; row++) {
        const start = row * projection.rows + layer * size;
        own.set(all.subarray(start, start + size), row * size);
      }
      return own;
    },
    async projection(layer) {
      const { dtype, read } = tensor(projection.source.tensor);
      const rowBytes = hiddenSize * (dtype === "F32" ? 4 : 2);
      return widenToFloat32(dtype, await read(layer * size * rowBytes, (layer + 1) * size * rowBytes));
    },
    async norm() {
      const { dtype, read } = tensor(norm.weight ?? "");
      return widenToFloat32(dtype, await read(0, size * (dtype === "F32" ? 4 : 2)));
    },
  };
}
