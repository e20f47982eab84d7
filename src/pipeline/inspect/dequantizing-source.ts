// A source whose quantized weights are read as the plain weights that they mean. Everything else passes through.

import { MalformedModelError } from "../../errors.ts";
import {
  dequantizeRows,
  type ReadPart,
  readRowParts,
  storedColumns,
} from "../../formats/weights/dequantize.ts";
import { DTYPE_BITS, narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import { derivedSource, type ReadRange } from "./derived-source.ts";
import type { RemoteSource } from "./remote-source.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { DequantizedModule } from "../../plan/checkpoint/dequantized-module.ts";

/** The source with the weights that its modules' codes mean, and nothing else where there are no such modules. */
export function dequantizingSource(
  source: RemoteSource,
  modules: ReadonlyMap<string, DequantizedModule>,
  unread: readonly FileRange[] = [],
): RemoteSource {
  if (modules.size === 0) return source;
  return derivedSource(source, {
    unread,
    isDerived: (path) => modules.has(path),
    partsOf: (path) =>
      Array.from(modules.get(path)?.found.parts.values() ?? [], ({ file, start, end }) => ({
        path: file,
        start,
        end,
      })),
    read: dequantizedReader(modules),
  });
}

/** Reads ranges of such files by `read`, which gives those of the files that there are. */
export function dequantizedReader(
  modules: ReadonlyMap<string, DequantizedModule>,
): (range: FileRange, read: ReadRange) => Promise<Uint8Array<ArrayBuffer>> {
  return async ({ path, start, end }, read) => {
    const module = modules.get(path);
    if (!module) return new Uint8Array();
    const rowBytes = (module.weight.columns * DTYPE_BITS[module.dtype]) / 8;
    const firstRow = Math.floor(start / rowBytes);
    const rows = Math.ceil(end / rowBytes) - firstRow;
    const bytes = await readRows(module, firstRow, rows, read);
    return bytes.slice(start - firstRow * rowBytes, end - firstRow * rowBytes);
  };
}

async function readRows(
  { weight, dtype, found }: DequantizedModule,
  firstRow: number,
  rows: number,
  read: ReadRange,
): Promise<Uint8Array<ArrayBuffer>> {
  const part: ReadPart = async (name, range) => {
    const tensor = found.parts.get(name);
    if (!tensor) return null;
    const { file: path, start, end } = tensor;
    return await read(
      range ? { path, start: start + range.start, end: start + range.end } : { path, start, end },
    );
  };
  const shape = await part("weight_shape");
  if (shape && storedColumns(shape) !== weight.columns) {
    throw new MalformedModelError(
      `${found.module}.weight_shape tells of ${storedColumns(shape)} columns, where ${weight.columns} are stored.`,
    );
  }
  const values = dequantizeRows(weight, firstRow, rows, await readRowParts(weight, firstRow, rows, part));
  return narrowFromFloat32(dtype, values);
}
