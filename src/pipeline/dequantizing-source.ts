// A source whose quantized weights are read as the bfloat16 that they mean. Everything else passes through.

import { invariant } from "../errors.ts";
import { codesTensor, dequantizeRows, rowRanges } from "../formats/dequantize.ts";
import { narrowFromFloat32 } from "../formats/dtype.ts";
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
  const rowBytes = module.weight.columns * 2;
  const firstRow = Math.floor(range.start / rowBytes);
  const rows = Math.ceil(range.end / rowBytes) - firstRow;
  const bytes = await readRows(module, firstRow, rows, read);
  return bytes.slice(range.start - firstRow * rowBytes, range.end - firstRow * rowBytes);
}

async function readRows(
  { weight, found }: DequantizedModule,
  firstRow: number,
  rows: number,
  read: Read,
): Promise<Uint8Array<ArrayBuffer>> {
  const part = async (name: string, range?: { readonly start: number; readonly end: number }) => {
    const tensor = found.parts.get(name);
    invariant(tensor, `${found.module} has ${name}`);
    const { file: path, start, end } = tensor;
    return await read(
      range ? { path, start: start + range.start, end: start + range.end } : { path, start, end },
    );
  };
  const ranges = rowRanges(weight, firstRow, rows);
  const globalScale = found.parts.has("weight_global_scale") ? await part("weight_global_scale") : null;
  const values = dequantizeRows(weight, firstRow, rows, {
    codes: await part(codesTensor(weight), ranges.codes),
    scales: await part("weight_scale", ranges.scales),
    zeroPoints: null,
    globalScale: globalScale ? (new Float32Array(globalScale.buffer)[0] ?? Number.NaN) : null,
    groupIndex: null,
  });
  return narrowFromFloat32("BF16", values);
}
