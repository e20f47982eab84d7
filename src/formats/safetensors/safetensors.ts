// The safetensors container: 8 bytes of header length, a JSON header, then the tensors without holes.
// Headers come from strangers: every bound is checked before anything is allocated or multiplied.
// Spec: https://github.com/huggingface/safetensors#format

import { inOneLine, MalformedModelError } from "../../errors.ts";
import { DTYPE_BITS, isDtype, type Dtype } from "../numbers/dtype.ts";
import { decodeUtf8, parseJson } from "../text/parse-json.ts";
import { endOfString } from "../text/python-json.ts";
import { shorten, showValue } from "../text/show-value.ts";

/** The format's own limit (safetensors `MAX_HEADER_SIZE`). */
export const MAX_HEADER_BYTES = 100_000_000;
/** Longer names than any model has; bounds what a header can make us keep and show. */
const MAX_NAME_LENGTH = 512;
const MAX_RANK = 8;
/** Bytes before the JSON header: its length as a little-endian u64. */
export const HEADER_PREFIX_BYTES = 8;

export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Byte range in the file, header included. */
  readonly start: number;
  readonly end: number;
}

export interface TensorSpec {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Bytes that a tensor takes; throws a MalformedModelError on overflow or a sub-byte tail. */
export function tensorBytes(spec: TensorSpec): number {
  const bits = spec.shape.reduce((product, size) => product * BigInt(size), BigInt(DTYPE_BITS[spec.dtype]));
  if (bits % 8n !== 0n || bits / 8n > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new MalformedModelError(
      `Tensor "${shorten(spec.name)}" has the shape [${spec.shape.join(", ")}] of ${spec.dtype}, which is no whole or possible number of bytes.`,
    );
  }
  return Number(bits / 8n);
}

/**
 * Reads the header's length from the first 8 bytes of a file.
 * @throws MalformedModelError if the length is impossible for a file of `fileBytes`.
 */
export function parseHeaderLength(file: string, prefix: Uint8Array, fileBytes: number): number {
  if (prefix.byteLength < HEADER_PREFIX_BYTES || fileBytes < HEADER_PREFIX_BYTES + 2) {
    throw new MalformedModelError(`${file} has ${fileBytes} bytes, too few for a safetensors file.`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new MalformedModelError(
      `${file} declares a header of ${length} bytes; the format allows ${MAX_HEADER_BYTES}. The file is damaged, or not safetensors.`,
    );
  }
  if (BigInt(HEADER_PREFIX_BYTES) + length > BigInt(fileBytes)) {
    throw new MalformedModelError(
      `${file} declares a header of ${length} bytes, but the whole file has ${fileBytes}. The file is truncated or damaged.`,
    );
  }
  return Number(length);
}

/**
 * Parses a header's JSON into entries with absolute byte ranges, sorted by their place in the file.
 * @throws MalformedModelError on anything that the format forbids: wrong types, unknown dtypes, duplicate or path-like
 * names, offsets that overlap, leave holes or leave the file, spans that disagree with shape and dtype.
 */
export function parseHeader(file: string, header: Uint8Array, fileBytes: number): TensorEntry[] {
  const entries = Object.entries(parseHeaderJson(file, header))
    .filter(([name]) => name !== "__metadata__")
    .map(([name, value]) => parseEntry(file, name, value, HEADER_PREFIX_BYTES + header.byteLength))
    .toSorted((a, b) => a.start - b.start || a.end - b.end);
  let position = HEADER_PREFIX_BYTES + header.byteLength;
  for (const entry of entries) {
    if (entry.end > fileBytes) {
      throw new MalformedModelError(
        `${file}: tensor "${shorten(entry.name)}" ends at byte ${entry.end}, but the file has ${fileBytes}. The download may be damaged; remove it and try again.`,
      );
    }
    if (entry.start !== position) {
      const problem = entry.start < position ? "overlaps the tensor before it" : "leaves a hole before it";
      throw new MalformedModelError(
        `${file}: tensor "${shorten(entry.name)}" starts at byte ${entry.start} where ${position} was due: it ${problem}. The file is malformed.`,
      );
    }
    position = entry.end;
  }
  if (position !== fileBytes) {
    throw new MalformedModelError(
      `${file}: the tensors end at byte ${position}, but the file has ${fileBytes}. The file is malformed or not complete.`,
    );
  }
  return entries;
}

function parseHeaderJson(file: string, header: Uint8Array): Record<string, unknown> {
  const what = `${file}: the safetensors header`;
  const text = decodeUtf8(what, header);
  const parsed = parseJson(what, text);
  if (!isRecord(parsed))
    throw new MalformedModelError(`${file}: the safetensors header is not a JSON object.`);
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) {
    throw new MalformedModelError(`${file}: the header names the tensor "${shorten(duplicate)}" twice.`);
  }
  return parsed;
}

function parseEntry(file: string, name: string, value: unknown, dataStart: number): TensorEntry {
  const shown = shorten(name);
  const fail = (reason: string): never => {
    throw new MalformedModelError(`${file}: tensor "${shown}" ${reason}.`);
  };
  if (!isPlainName(name))
    fail("has a name that looks like a path, has characters that are not to be seen, or is too long");
  if (!isRecord(value)) return fail("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !isDtype(dtype)) return fail(`has the unknown dtype ${showValue(dtype)}`);
  if (!isSizes(shape) || shape.length > MAX_RANK)
    return fail("has a shape that is not a short list of sizes");
  if (!isSizes(offsets) || offsets.length !== 2) return fail("has data_offsets that are not two positions");
  const [start = 0, end = 0] = offsets;
  const bytes = tensorBytes({ name, dtype, shape });
  if (end - start !== bytes) {
    return fail(`spans ${end - start} bytes, but [${shape.join(", ")}] of ${dtype} takes ${bytes}`);
  }
  return { name, dtype, shape, start: dataStart + start, end: dataStart + end };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Tensor names become keys of an index and lines of a report, never paths; one that could be a path, or break a line, is refused. */
function isPlainName(name: string): boolean {
  return (
    name.length > 0 && name.length <= MAX_NAME_LENGTH && !/[/\\]|\.\./.test(name) && inOneLine(name) === name
  );
}

/** JSON.parse silently keeps the last of two equal keys; two tensors of one name must be an error. */
function findDuplicateKey(json: string): string | null {
  const seen = new Set<string>();
  const bracket = /["{}[\]]/g;
  const colon = /\s*:/y;
  let depth = 0;
  for (let match = bracket.exec(json); match; match = bracket.exec(json)) {
    if (match[0] !== '"') {
      depth += match[0] === "{" || match[0] === "[" ? 1 : -1;
      continue;
    }
    const end = endOfString(json, match.index) + 1;
    bracket.lastIndex = end;
    colon.lastIndex = end;
    if (depth !== 1 || !colon.test(json)) continue;
    const key = String(JSON.parse(json.slice(match.index, end)));
    if (seen.has(key)) return key;
    seen.add(key);
  }
  return null;
}

/** Widest first, as the safetensors library sorts them, so that every tensor starts aligned to its element. */
const DTYPE_ORDER: readonly Dtype[] = [
  "U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16",
  "F8_E8M0", "F8_E4M3", "F8_E5M2", "I8", "U8", "F6_E3M2", "F6_E2M3", "F4", "BOOL",
]; // prettier-ignore

export interface SafetensorsLayout {
  /** The 8 bytes of length and the JSON header, padded with spaces to a multiple of 8. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** Absolute byte ranges, in file order. */
  readonly entries: readonly TensorEntry[];
  readonly fileBytes: number;
}

/** Lays out a file as the safetensors library does: sorted by dtype width, then by name; metadata `{"format":"pt"}`. */
export function layOutSafetensors(tensors: readonly TensorSpec[]): SafetensorsLayout {
  const sorted = tensors.toSorted(
    (a, b) =>
      DTYPE_ORDER.indexOf(a.dtype) - DTYPE_ORDER.indexOf(b.dtype) ||
      (a.name < b.name ? -1 : Number(a.name > b.name)),
  );
  // Written by hand and not from an object: "__proto__" is a legal tensor name.
  const members = [`"__metadata__":{"format":"pt"}`];
  const spans: { tensor: TensorSpec; start: number; end: number }[] = [];
  let position = 0;
  for (const tensor of sorted) {
    const end = position + tensorBytes(tensor);
    const value = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [position, end] };
    members.push(`${JSON.stringify(tensor.name)}:${JSON.stringify(value)}`);
    spans.push({ tensor, start: position, end });
    position = end;
  }
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const headerBytes = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(HEADER_PREFIX_BYTES + headerBytes).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.set(json, HEADER_PREFIX_BYTES);
  const entries = spans.map(({ tensor, start, end }) => ({
    ...tensor,
    start: bytes.byteLength + start,
    end: bytes.byteLength + end,
  }));
  return { header: bytes, entries, fileBytes: bytes.byteLength + position };
}
