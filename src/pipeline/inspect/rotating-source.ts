// A source whose rotated tensors are read multiplied by their rotations, in float64, and rounded once to their own dtype.

import type { FileRange } from "../../formats/files/file-ranges.ts";
import {
  DTYPE_BITS,
  type FloatDtype,
  narrowFromFloat32,
  widenToFloat32,
} from "../../formats/numbers/dtype.ts";
import { UnsupportedModelError } from "../../errors.ts";
import type {
  ConstantTensor,
  FoldedNorm,
  RotatedRun,
  RotatedTensor,
  RotatedTensors,
} from "../../plan/rotation/rotated-tensors.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { derivedSource, type ReadRange } from "./derived-source.ts";
import type { RemoteSource } from "./remote-source.ts";
import { createRotators, type RotateSpan } from "./rotator-threads.ts";

/** Matrices that are kept in memory: a row of one whose columns are rotated takes all of it. */
const KEPT_MATRICES = 3;
/** Bytes of rows that are rotated at a time. */
const PART_BYTES = 2 * 1024 ** 2;

/** The source itself where nothing is rotated. */
export function rotatingSource(
  source: RemoteSource,
  { rotated, seed }: Pick<RotatedTensors, "rotated" | "seed">,
  rotate: RotateSpan = createRotators(),
): RemoteSource {
  if (rotated.size === 0) return source;
  const matrices = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  const reader = { matrices, norms: new Map<string, Float32Array>(), seed, rotate };
  return derivedSource(source, {
    unread: foldedNorms(rotated),
    isDerived: (path) => rotated.has(path),
    partsOf: (path) => partsOf(rotated.get(path)),
    async read({ path, start, end }, read) {
      const tensor = rotated.get(path);
      if (!tensor) return new Uint8Array();
      if ("value" in tensor) return constant(tensor, end - start);
      return await readRotated(tensor, start, end, { ...reader, read });
    },
  });
}

interface Reader {
  /** Matrices whose columns were rotated. */
  readonly matrices: Map<string, Promise<Uint8Array<ArrayBuffer>>>;
  /** Weights of folded norms by their place. */
  readonly norms: Map<string, Float32Array>;
  readonly seed: number | null;
  readonly rotate: RotateSpan;
  readonly read: ReadRange;
}

/** Norms are kept in memory once read, so that no chunk waits for the last Linear that wants one. */
function foldedNorms(rotated: RotatedTensors["rotated"]): FileRange[] {
  return Array.from(rotated.values())
    .filter((tensor) => "value" in tensor)
    .map(({ source }) => placeOf(source));
}

function partsOf(tensor: RotatedTensor | ConstantTensor | undefined): FileRange[] {
  return !tensor || "value" in tensor ? [] : [placeOf(tensor.source)];
}

function placeOf({ file: path, start, end }: SourceTensor): FileRange {
  return { path, start, end };
}

function constant({ source, value }: ConstantTensor, bytes: number): Uint8Array<ArrayBuffer> {
  const dtype = floatDtype(source.dtype);
  return narrowFromFloat32(dtype, new Float32Array((bytes * 8) / DTYPE_BITS[dtype]).fill(value));
}

/** Bytes [start, end) of a tensor, by those of its rows that are rotated together. */
async function readRotated(
  tensor: RotatedTensor,
  start: number,
  end: number,
  reader: Reader,
): Promise<Uint8Array<ArrayBuffer>> {
  const rowBytes = (tensor.columns * DTYPE_BITS[floatDtype(tensor.source.dtype)]) / 8;
  const bytes = new Uint8Array(end - start);
  let row = Math.floor(start / rowBytes);
  while (row * rowBytes < end) {
    const span = spanAt(tensor, row, Math.ceil(end / rowBytes));
    const values = await readSpan(tensor, span, reader);
    const first = span.first * rowBytes;
    const [from, to] = [Math.max(start, first), Math.min(end, span.end * rowBytes)];
    bytes.set(values.subarray(from - first, to - first), from - start);
    row = span.end;
  }
  return bytes;
}

/** Rows of a tensor, all of its matrices end to end; those that `turned` says are rotated together. */
interface Rows {
  readonly first: number;
  readonly end: number;
  readonly turned: RotatedRun | null;
}

/** The run of rows that a row belongs to, as far as it is wanted. */
function spanAt({ rows, byRow }: RotatedTensor, row: number, wantedEnd: number): Rows {
  if (!byRow) return { first: row, end: wantedEnd, turned: null };
  const origin = Math.floor(row / rows) * rows;
  const begin = origin + byRow.first;
  const end = begin + byRow.size * byRow.blocks;
  if (row < begin) return { first: row, end: Math.min(begin, wantedEnd), turned: null };
  if (row >= end) return { first: row, end: Math.min(origin + rows, wantedEnd), turned: null };
  const first = begin + Math.floor((row - begin) / byRow.size) * byRow.size;
  return { first, end: first + byRow.size, turned: byRow };
}

/** The rotated rows of a span; whole matrices are kept for a while, since their rows are asked for in tiles. */
async function readSpan(tensor: RotatedTensor, span: Rows, reader: Reader): Promise<Uint8Array<ArrayBuffer>> {
  if (span.turned?.rotation !== "R1") return await rotateSpan(tensor, span, reader);
  const kept = reader.matrices;
  const key = `${tensor.source.file} ${tensor.source.start} ${span.first}`;
  const rows = kept.get(key) ?? rotateSpan(tensor, span, reader);
  kept.delete(key);
  kept.set(key, rows);
  for (const oldest of kept.keys()) if (kept.size > KEPT_MATRICES) kept.delete(oldest);
  try {
    return await rows;
  } catch (error) {
    kept.delete(key);
    throw error;
  }
}

async function rotateSpan(
  tensor: RotatedTensor,
  { first, end, turned }: Rows,
  reader: Reader,
): Promise<Uint8Array<ArrayBuffer>> {
  const { source, columns, byColumn } = tensor;
  const dtype = floatDtype(source.dtype);
  const rowBytes = (columns * DTYPE_BITS[dtype]) / 8;
  const start = source.start + first * rowBytes;
  const bytes = await reader.read({ path: source.file, start, end: source.start + end * rowBytes });
  const norm = tensor.norm ? await readFactors(tensor.norm, reader) : null;
  const span = { dtype, columns, seed: reader.seed, norm, byColumn, byRow: turned };
  // Rows that do not mix are rotated in parts, which may go to several threads.
  const partBytes = turned ? bytes.byteLength : Math.max(Math.floor(PART_BYTES / rowBytes), 1) * rowBytes;
  if (bytes.byteLength <= partBytes) return await reader.rotate({ ...span, bytes });
  const rotated = new Uint8Array(bytes.byteLength);
  const starts = Array.from({ length: Math.ceil(bytes.byteLength / partBytes) }, (_, at) => at * partBytes);
  await Promise.all(
    starts.map(async (at) => {
      rotated.set(await reader.rotate({ ...span, bytes: bytes.slice(at, at + partBytes) }), at);
    }),
  );
  return rotated;
}

/** What each column is multiplied by before it is rotated. */
async function readFactors({ weight, offset }: FoldedNorm, { norms, read }: Reader): Promise<Float32Array> {
  const key = `${weight.file} ${weight.start}`;
  const known = norms.get(key);
  if (known) return known;
  const values = widenToFloat32(floatDtype(weight.dtype), await read(placeOf(weight)));
  const factors = values.map((value) => value + offset);
  norms.set(key, factors);
  return factors;
}

function floatDtype(dtype: string): FloatDtype {
  if (dtype === "BF16" || dtype === "F16" || dtype === "F32") return dtype;
  throw new UnsupportedModelError(`A tensor of the dtype ${dtype} cannot be rotated.`);
}
