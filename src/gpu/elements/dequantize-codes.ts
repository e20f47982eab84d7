import code from "./dequantize-codes.wgsl?raw";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import numberFormats from "./number-formats.wgsl?raw";
import { struct } from "../struct.ts";

const WORKGROUP = 64;
const KINDS = { unsigned: 0, signed: 1, e4m3: 2, e2m1: 3 } as const;

export const dequantizeCodesKernel = kernel({
  name: "gpu.dequantize-codes",
  code: [numberFormats, code],
  params: struct({
    first: "u32",
    end: "u32",
    columns: "u32",
    stride: "u32",
    first_row: "u32",
    rows_before: "u32",
    cell_rows: "u32",
    cell_columns: "u32",
    cells_per_row: "u32",
    offset: "f32",
  }),
  bindings: { codes: "read", cells: "read", values: "read_write" },
  constants: ["KIND", "BITS"],
});

/** Rows of codes without gaps, low bits first. */
export interface CodedRows {
  readonly kind: keyof typeof KINDS;
  readonly bits: 4 | 8;
  /** Taken from unsigned codes. */
  readonly offset: number;
  readonly rows: number;
  /** Their bits come to whole words. */
  readonly columns: number;
  /** The rectangle of weights that shares a scale and a zero point. */
  readonly cellRows: number;
  readonly cellColumns: number;
  /** Rows of the first cell that come before these rows. */
  readonly rowsBefore: number;
}

/** Pairs of a scale and a zero point that `cells` holds for these rows. */
export function cellsOf({ rows, columns, cellRows, cellColumns, rowsBefore }: CodedRows): number {
  return Math.ceil((rowsBefore + rows) / cellRows) * Math.ceil(columns / cellColumns);
}

/** Begins to compile the kernel for such codes. */
export function prepareDequantize(gpu: Gpu, { kind, bits }: Pick<CodedRows, "kind" | "bits">): void {
  gpu.queue.prepare(dequantizeCodesKernel, { KIND: KINDS[kind], BITS: bits });
}

/** values[firstRow + row, column] = (code − zero point) · scale in float32, rows `stride` apart. */
export async function dequantizeCodes(
  gpu: Gpu,
  coded: CodedRows,
  from: { readonly codes: BufferPart; readonly cells: BufferPart },
  to: { readonly values: BufferPart; readonly stride: number; readonly firstRow: number },
): Promise<void> {
  const { kind, bits, offset, rows, columns, cellRows, cellColumns, rowsBefore } = coded;
  for (const { first, end } of gpu.queue.split(dequantizeCodesKernel, rows * columns, 1, WORKGROUP)) {
    await gpu.queue.run(dequantizeCodesKernel, {
      params: {
        first,
        end,
        columns,
        stride: to.stride,
        first_row: to.firstRow,
        rows_before: rowsBefore,
        cell_rows: cellRows,
        cell_columns: cellColumns,
        cells_per_row: Math.ceil(columns / cellColumns),
        offset,
      },
      buffers: { ...from, values: to.values },
      constants: { KIND: KINDS[kind], BITS: bits },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}
