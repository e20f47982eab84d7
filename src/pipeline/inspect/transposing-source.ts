// A source whose transposed weights are read turned over: inputs before outputs in the file, outputs before inputs here.

import { turnOver } from "../../formats/weights/turn-over.ts";
import type { TransposedWeight } from "../../plan/checkpoint/split-experts.ts";
import { derivedSource, type ReadRange } from "./derived-source.ts";
import type { RemoteSource } from "./remote-source.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";

/** Matrices that are kept in memory: a row touches all of one, and its gate, up and down are read together. */
const KEPT_MATRICES = 3;

/** The source itself where nothing is transposed. */
export function transposingSource(
  source: RemoteSource,
  files: ReadonlyMap<string, readonly TransposedWeight[]>,
): RemoteSource {
  if (files.size === 0) return source;
  return derivedSource(source, {
    isDerived: (path) => files.has(path),
    partsOf: (path) => (files.get(path) ?? []).map(({ file, start, end }) => ({ path: file, start, end })),
    read: transposedReader(files),
  });
}

/** Reads ranges of such files by `read`, which gives those of the files that there are. */
export function transposedReader(
  files: ReadonlyMap<string, readonly TransposedWeight[]>,
): (range: FileRange, read: ReadRange) => Promise<Uint8Array<ArrayBuffer>> {
  const kept = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  return async ({ path, start, end }, read) => {
    const bytes = new Uint8Array(end - start);
    let first = 0;
    for (const weight of files.get(path) ?? []) {
      const size = weight.rows * weight.columns * weight.bytesEach;
      const [from, to] = [Math.max(start - first, 0), Math.min(end - first, size)];
      if (from < to) bytes.set(await readTurned(kept, weight, from, to, read), first + from - start);
      first += size;
    }
    return bytes;
  };
}

/** Bytes [start, end) of a weight. */
async function readTurned(
  kept: Map<string, Promise<Uint8Array<ArrayBuffer>>>,
  weight: TransposedWeight,
  start: number,
  end: number,
  read: ReadRange,
): Promise<Uint8Array<ArrayBuffer>> {
  const rowBytes = weight.columns * weight.bytesEach;
  const firstRow = Math.floor(start / rowBytes);
  const rows = Math.ceil(end / rowBytes) - firstRow;
  const bytes = turnOver(await matrixOf(kept, weight, read), weight, firstRow, rows);
  return bytes.slice(start - firstRow * rowBytes, end - firstRow * rowBytes);
}

async function matrixOf(
  kept: Map<string, Promise<Uint8Array<ArrayBuffer>>>,
  { file: path, start, end }: TransposedWeight,
  read: ReadRange,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = `${path} ${start}`;
  const matrix = kept.get(key) ?? read({ path, start, end } satisfies FileRange);
  kept.delete(key);
  kept.set(key, matrix);
  for (const oldest of kept.keys()) if (kept.size > KEPT_MATRICES) kept.delete(oldest);
  try {
    return await matrix;
  } catch (error) {
    kept.delete(key);
    throw error;
  }
}
