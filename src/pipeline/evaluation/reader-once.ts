// A stored model for one who reads each layer once, as the forward pass does where a layer's weights stay on the GPU.

import type { StoredModel } from "../../evaluate/weights/stored-model.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import { layerLinears } from "../../model/layer-linears.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { keepTensor } from "./keep-tensor.ts";
import { MAX_EMBEDDING_BYTES, modelReader, type ReadModel } from "./model-reader.ts";
import type { ModelTraffic } from "./model-traffic.ts";

/** Tensors of so many bytes are kept when they are read: a scale of a whole weight. */
const SMALL_BYTES = 64;

export interface ReadOnce {
  /** Any range, which may be read again. */
  readonly read: (range: FileRange) => Promise<Uint8Array<ArrayBuffer>>;
  /** Where the bytes of a range really lie, if its file is made of others. */
  readonly partsOf: (range: FileRange) => readonly FileRange[];
  readonly traffic: Pick<ModelTraffic, "take">;
  readonly again: Pick<StoredModel, "embed" | "tokenRows">;
}

/** The model for one who reads each layer once: what is asked for again is kept for as long as it is used. */
export function readerOnce(among: ReadModel, once: ReadOnce): StoredModel {
  const { description, byName } = among;
  const { read, traffic, again } = once;
  const taken = takenOnce(once, description);
  const small = new Map<string, Uint8Array<ArrayBuffer>>();
  const take = async (tensor: SourceTensor, range: FileRange) => {
    if (!taken(tensor)) return await read(range);
    if (tensor.end - tensor.start > SMALL_BYTES) return await traffic.take(tensor, range);
    // A module's few numbers are asked for with each run of its rows.
    const bytes = small.get(tensor.name) ?? (await traffic.take(tensor, range));
    small.set(tensor.name, bytes);
    return bytes.slice();
  };
  const table = byName.get(description.embedding.tensor);
  const isKept = description.head.tied && table && table.end - table.start <= MAX_EMBEDDING_BYTES;
  const kept = isKept ? keptIn(table, take) : null;
  const reader = modelReader(among, async (tensor, range) =>
    kept && tensor === table ? await kept(range) : await take(tensor, range),
  );
  const { head, tokenInputs } = description;
  // The table is read for the head as well, or for each layer.
  const isReadAgain = kept === null && (head.tied || tokenInputs !== null);
  const embed: StoredModel["embed"] = async (sequences) =>
    await (isReadAgain ? again : reader).embed(sequences);
  const tokenRows: StoredModel["tokenRows"] = async (ids, layer) => await again.tokenRows(ids, layer);
  return { ...reader, embed, tokenRows };
}

/** Ranges of a tensor that is kept once it was read. */
function keptIn(
  tensor: SourceTensor,
  take: (tensor: SourceTensor, range: FileRange) => Promise<Uint8Array<ArrayBuffer>>,
) {
  const { file: path, start: first, end } = tensor;
  const kept = keepTensor(
    end - first,
    async (from, to) => await take(tensor, { path, start: first + from, end: first + to }),
  );
  return async (range: FileRange) => await kept(range.start - first, range.end - first);
}

/** Which tensors are read once by one who takes each layer once. */
function takenOnce({ partsOf }: Pick<ReadOnce, "partsOf">, { layers }: DecoderDescription) {
  const linears = layers.flatMap(layerLinears);
  // A matrix that lies turned over is read anew for each Linear that it holds.
  const again = new Set(linears.flatMap(({ source }) => (source.turned ? [source.tensor] : [])));
  return ({ name, file: path, start, end }: SourceTensor) =>
    !again.has(name) && partsOf({ path, start, end })[0]?.path === path;
}
