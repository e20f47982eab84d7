// A source whose quantized weights are read as the plain weights that they mean. Everything else passes through.

import { MalformedModelError } from "../errors.ts";
import { dequantizeRows, type ReadPart, readRowParts, storedColumns } from "../formats/dequantize.ts";
import { DTYPE_BITS, narrowFromFloat32 } from "../formats/dtype.ts";
import type { DequantizedModule } from "../plan/dequantized-tensors.ts";
import type { FileRange } from "./api.ts";
import type { RemoteSource } from "./remote-source.ts";

/** The source itself where nothing is dequantized. */
export function dequantizingSource(
  source: RemoteSource,
  modules: ReadonlyMap<string, DequantizedModule>,
): RemoteSource {
  if (modules.size === 0) return source;
  const own = {
    read: async (range: FileRange) => await readRange(modules, range, async (of) => await source.read(of)),
    readRange: async (range: FileRange) =>
      await readRange(modules, range, async (of) => await source.readRange(of)),
    prefetch: async (ranges: readonly FileRange[]) => await source.prefetch(storedRanges(modules, ranges)),
    evict: async (ranges: readonly FileRange[]) => await source.evict(storedRanges(modules, ranges)),
    missingBytes: async (ranges: readonly FileRange[]) =>
      await source.missingBytes(storedRanges(modules, ranges)),
  };
  return new Proxy(source, {
    get: (target, name): unknown =>
      Object.hasOwn(own, name) ? Reflect.get(own, name) : Reflect.get(target, name),
  });
}

/** Where the parts of dequantized weights really lie. */
function storedRanges(
  modules: ReadonlyMap<string, DequantizedModule>,
  ranges: readonly FileRange[],
): FileRange[] {
  return ranges.flatMap((range) => {
    const module = modules.get(range.path);
    if (!module) return [range];
    return Array.from(module.found.parts.values(), ({ file, start, end }) => ({ path: file, start, end }));
  });
}

type Read = (range: FileRange) => Promise<Uint8Array<ArrayBuffer>>;

async function readRange(
  modules: ReadonlyMap<string, DequantizedModule>,
  range: FileRange,
  read: Read,
): Promise<Uint8Array<ArrayBuffer>> {
  const module = modules.get(range.path);
  if (!module) return await read(range);
  const rowBytes = (module.weight.columns * DTYPE_BITS[module.dtype]) / 8;
  const firstRow = Math.floor(range.start / rowBytes);
  const rows = Math.ceil(range.end / rowBytes) - firstRow;
  const bytes = await readRows(module, firstRow, rows, read);
  return bytes.slice(range.start - firstRow * rowBytes, range.end - firstRow * rowBytes);
}

async function readRows(
  { weight, dtype, found }: DequantizedModule,
  firstRow: number,
  rows: number,
  read: Read,
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
