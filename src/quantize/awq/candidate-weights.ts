// What Linears become under each candidate, as weights that a block is run with: Q(W · s) / s in float32, made anew from the rows
// that lie on the GPU whenever they are asked for, in pieces of bounded size.

import { openTogether } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import { bufferBytes, LedgerBuffer } from "../../gpu/memory.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import type { WeightRows } from "../rewriter.ts";
import { candidateErrors } from "./awq-kernels.ts";
import {
  errorStride,
  type Part,
  searchGrid,
  type SearchedMapping,
  type SearchedTask,
} from "./search-memory.ts";

/** Pieces of weights are no larger. */
const MAX_PIECE_BYTES = 64 * 1024 ** 2;
/** Parts of a buffer are bound at multiples of this. */
const PART_BYTES = 256;
/** Rows of a piece are a multiple of this, so that they begin where a part may: a row's bytes are a multiple of 16. */
const ROW_MULTIPLE = 16;

/** A mapping with its candidates. */
export interface GivenMapping extends SearchedMapping {
  /** One factor a channel, by candidate. */
  readonly scales: readonly Float32Array<ArrayBuffer>[];
  /** What is known of a Linear's scale, by candidate: four numbers each, as `knownOf` gives them. */
  readonly known: ReadonlyMap<string, Float32Array<ArrayBuffer>>;
}

export interface CandidateWeights extends Disposable {
  /** Null for Linears that are not searched. */
  replace(module: string, rows: WeightRows, candidate: number): AsyncIterable<WeightRows> | null;
}

function partBytes(bytes: number): number {
  return Math.ceil(bytes / PART_BYTES) * PART_BYTES;
}

function givenBytes(mappings: readonly SearchedMapping[], total: number): number {
  const sizes = mappings.map(
    ({ columns, tasks }) => partBytes(total * columns * 4) + tasks.length * partBytes(total * 16),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Rows of a Linear that fit a piece. */
function pieceRows({ rows, columns }: SearchedTask): number {
  const fitting = Math.floor(MAX_PIECE_BYTES / (errorStride(columns) * 4) / ROW_MULTIPLE) * ROW_MULTIPLE;
  return Math.min(Math.max(fitting, ROW_MULTIPLE), rows);
}

function pieceBytes(mappings: readonly SearchedMapping[]): number {
  const sizes = mappings.flatMap(({ tasks }) =>
    tasks.map((task) => pieceRows(task) * errorStride(task.columns) * 4),
  );
  return Math.max(0, ...sizes);
}

/** GPU bytes of the candidates of these mappings; the planner's figure. */
export function candidateWeightsBytes(mappings: readonly SearchedMapping[], total: number): number {
  return bufferBytes(givenBytes(mappings, total)) + bufferBytes(pieceBytes(mappings));
}

interface Place {
  readonly task: SearchedTask;
  readonly factors: Part;
  readonly known: Part;
}

export async function openCandidateWeights(
  { gpu, uploads }: { readonly gpu: Gpu; readonly uploads: UploadRing },
  mappings: readonly GivenMapping[],
  total: number,
): Promise<CandidateWeights> {
  return await openTogether(async (parts) => {
    const [given, piece] = parts.useEach(
      await gpu.memory.allocateAll([
        { label: "AWQ candidates of blocks", bytes: givenBytes(mappings, total) },
        { label: "weights of a candidate", bytes: pieceBytes(mappings) },
      ]),
    );
    const { bytes, places } = layOut(mappings, given, total);
    await uploads.write(bytes, given);
    return {
      replace(module: string, rows: WeightRows, candidate: number) {
        const place = places.get(module);
        return place ? pieces(gpu, place, rows, candidate, piece) : null;
      },
    };
  });
}

/** What the host gives, and where each Linear's part of it lies. */
function layOut(mappings: readonly GivenMapping[], of: LedgerBuffer, total: number) {
  const bytes = new Uint8Array(givenBytes(mappings, total));
  const places = new Map<string, Place>();
  let end = 0;
  const put = (values: readonly Float32Array<ArrayBuffer>[], size: number): Part => {
    const offset = end;
    let at = offset;
    for (const { buffer, byteOffset, byteLength } of values) {
      bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
    end += partBytes(size);
    return { of, offset, bytes: size };
  };
  for (const { columns, tasks, scales, known } of mappings) {
    const factors = put(scales, total * columns * 4);
    for (const task of tasks) {
      const own = known.get(task.module);
      places.set(task.module, { task, factors, known: put(own ? [own] : [], total * 16) });
    }
  }
  return { bytes, places };
}

async function* pieces(
  gpu: Gpu,
  { task, factors, known }: Place,
  { weight, dtype, stride, firstRow, rows: count }: WeightRows,
  candidate: number,
  piece: LedgerBuffer,
): AsyncGenerator<WeightRows> {
  const { columns, weights: args } = task;
  const own = errorStride(columns);
  const each = pieceRows(task);
  const rowBytes = (stride * DTYPE_BITS[dtype]) / 8;
  for (let first = 0; first < count; first += each) {
    const rows = Math.min(each, count - first);
    const grid = searchGrid(task, rows);
    invariant(grid.cellRows === 1, "what a row becomes follows from the row");
    const weights = partFrom(weight, first * rowBytes, rows * rowBytes);
    const tile = { weights, dtype, rows, columns, stride, args, grid };
    const buffers = { factors, known, errors: piece };
    await candidateErrors(gpu, tile, { first: candidate, count: 1, gives: "meaning" }, buffers, own);
    yield { weight: piece, dtype: "F32", stride: own, firstRow: firstRow + first, rows };
  }
}

function partFrom(part: BufferPart, offset: number, bytes: number): BufferPart {
  return part instanceof LedgerBuffer
    ? { of: part, offset, bytes }
    : { of: part.of, offset: part.offset + offset, bytes };
}
