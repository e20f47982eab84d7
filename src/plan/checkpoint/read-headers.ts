// The safetensors headers of a model, without its tensors.

import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { standInSentence } from "../../formats/files/stand-in.ts";
import {
  HEADER_PREFIX_BYTES,
  MAX_HEADER_BYTES,
  parseHeader,
  parseHeaderLength,
  type TensorEntry,
} from "../../formats/safetensors/safetensors.ts";
import { shorten } from "../../formats/text/show-value.ts";
import { INDEX_FILE, MAX_INDEX_BYTES, parseIndex } from "../../formats/safetensors/safetensors-index.ts";
import { checkShardNames } from "./check-complete.ts";

/** A tensor and the file that holds it. */
export interface SourceTensor extends TensorEntry {
  readonly file: string;
}

export interface FileReader {
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  /** Reads a small range directly from the source. */
  readRange(range: { path: string; start: number; end: number }): Promise<Uint8Array>;
  readFile(path: string, maxBytes: number): Promise<Uint8Array>;
}

/** Most headers are far smaller: one request fetches length and header together. */
const FIRST_READ_BYTES = 256 * 1024;
const PARALLEL_READS = 4;
/** A header takes ten times its length once it is parsed. */
const MAX_ALL_HEADERS_BYTES = 2 * MAX_HEADER_BYTES;
const WHOLE_FILE = "model.safetensors";
/** Names of output heads, which may be the embedding under another name. */
const HEAD = /(^|\.)(lm_head|embed_out|output)\.weight$/;

export interface ModelHeaders {
  readonly tensors: readonly SourceTensor[];
  /** What is odd about the files and does no harm, each a sentence. */
  readonly notes: readonly string[];
}

/**
 * Reads the header of each weight file: those that the index names, else model.safetensors, else every .safetensors file.
 * Where the index names files that are not there, and model.safetensors is, that is read, as loaders do.
 * @param tiesHead whether config.json lets the output head be the embedding: an index may then name a head that no file has
 * @throws MalformedModelError if a header breaks the format, or the index disagrees with the files.
 * @throws UnsupportedModelError if there are no safetensors.
 */
export async function readHeaders(reader: FileReader, tiesHead: boolean): Promise<ModelHeaders> {
  const notes: string[] = [];
  const index = usableIndex(reader, await readIndex(reader), notes);
  const shards = index ? [...new Set(index.values())] : weightFiles(reader);
  const files = new Map(reader.files.map(({ path, bytes }) => [path, bytes]));
  const perShard: SourceTensor[][] = [];
  const budget = { bytes: MAX_ALL_HEADERS_BYTES };
  for (let first = 0; first < shards.length; first += PARALLEL_READS) {
    const batch = shards.slice(first, first + PARALLEL_READS);
    perShard.push(
      ...(await Promise.all(
        batch.map(
          async (path) => await readShardHeader(reader, { path, bytes: files.get(path) ?? null }, budget),
        ),
      )),
    );
  }
  const tensors = perShard.flat();
  checkUnique(tensors);
  if (index) notes.push(...checkIndex(index, tensors, tiesHead));
  return { tensors, notes };
}

/** The index, unless it names files that are gone while the whole model lies beside it. */
function usableIndex(
  { files }: FileReader,
  index: ReadonlyMap<string, string> | null,
  notes: string[],
): ReadonlyMap<string, string> | null {
  const present = new Set(files.map(({ path }) => path));
  const gone = index && [...new Set(index.values())].find((shard) => !present.has(shard));
  if (gone === null || gone === undefined || !present.has(WHOLE_FILE)) return index;
  notes.push(
    `${INDEX_FILE} names ${gone}, which is not there: it is left from another upload. ${WHOLE_FILE} is read instead.`,
  );
  return null;
}

async function readShardHeader(
  reader: FileReader,
  { path, bytes: fileBytes }: { readonly path: string; readonly bytes: number | null },
  budget: { bytes: number },
): Promise<SourceTensor[]> {
  if (fileBytes === null) {
    throw new MalformedModelError(`${INDEX_FILE} names ${path}, which is not among the model's files.`);
  }
  const first = await reader.readRange({ path, start: 0, end: Math.min(FIRST_READ_BYTES, fileBytes) });
  const standIn = standInSentence(path, first);
  if (standIn !== null) throw new MalformedModelError(standIn);
  const length = parseHeaderLength(path, first, fileBytes);
  budget.bytes -= length;
  if (budget.bytes < 0) {
    throw new MalformedModelError(
      `The headers of all files are longer than ${formatBytes(MAX_ALL_HEADERS_BYTES)} together, up to ${path}, which is more than can be planned with here. The files are damaged, or made to do harm.`,
    );
  }

  const end = HEADER_PREFIX_BYTES + length;
  const bytes = new Uint8Array(end);
  bytes.set(first.subarray(0, end));
  if (end > first.byteLength) {
    bytes.set(await reader.readRange({ path, start: first.byteLength, end }), first.byteLength);
  }
  const header = bytes.subarray(HEADER_PREFIX_BYTES);
  return parseHeader(path, header, fileBytes).map((entry) => ({ ...entry, file: path }));
}

async function readIndex(reader: FileReader): Promise<Map<string, string> | null> {
  if (!reader.files.some(({ path }) => path === INDEX_FILE)) return null;
  return parseIndex(await reader.readFile(INDEX_FILE, MAX_INDEX_BYTES));
}

function weightFiles(reader: FileReader): string[] {
  const all = reader.files.map(({ path }) => path).filter((path) => path.endsWith(".safetensors"));
  const top = all.filter((path) => !path.includes("/"));
  if (top.includes(WHOLE_FILE)) return [WHOLE_FILE];
  checkShardNames(top);
  if (top.length > 0) return top;
  const weights = reader.files.filter(({ path }) => /\.(bin|pth?|gguf|onnx)$/.test(path));
  const total = weights.reduce((sum, { bytes }) => sum + bytes, 0);
  throw new UnsupportedModelError(
    weights.length > 0
      ? `There are no .safetensors files here, only ${weights[0]?.path} and the like (${formatBytes(total)}). Convert the model to safetensors first, or look for a revision that has them.`
      : "There are no .safetensors files here. Point at a model folder that has them.",
  );
}

function checkUnique(tensors: readonly SourceTensor[]): void {
  const places = new Map<string, string>();
  for (const { name, file } of tensors) {
    const other = places.get(name);
    if (other !== undefined) {
      throw new MalformedModelError(`The tensor "${shorten(name)}" is in both ${other} and ${file}.`);
    }
    places.set(name, file);
  }
}

/** Every tensor of the index is where it says, but for a head that is tied; a note about that one. */
function checkIndex(
  index: ReadonlyMap<string, string>,
  tensors: readonly SourceTensor[],
  tiesHead: boolean,
): string[] {
  const places = new Map(tensors.map(({ name, file }) => [name, file]));
  const notes: string[] = [];
  for (const [name, file] of index) {
    if (places.get(name) === file) continue;
    if (!tiesHead || !HEAD.test(name) || places.has(name)) {
      throw new MalformedModelError(
        `${INDEX_FILE} places the tensor "${shorten(name)}" in ${file}, but that file does not have it.`,
      );
    }
    notes.push(
      `${INDEX_FILE} names ${shorten(name)}, which no file has: it is the embedding under another name (tied).`,
    );
  }
  return notes;
}
