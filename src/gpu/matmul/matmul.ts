// Matrix products in float32 on the GPU: Linear layers, triangular updates, everything that has many flops.

import type { FloatDtype } from "../../formats/dtype.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_CODE } from "../dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import numberFormats from "../number-formats.wgsl?raw";
import { struct } from "../struct.ts";
import code from "./matmul.wgsl?raw";

export const matmulKernel = kernel({
  name: "gpu.matmul",
  code: [numberFormats, code],
  params: struct({
    m: "u32",
    n: "u32",
    k: "u32",
    a_stride: "u32",
    b_stride: "u32",
    c_stride: "u32",
    a_offset: "u32",
    b_offset: "u32",
    c_offset: "u32",
    alpha: "f32",
    tiles_n: "u32",
    first_tile: "u32",
    end_tile: "u32",
    row_origin: "u32",
    column_origin: "u32",
  }),
  bindings: { a: "read", b: "read", c: "read_write" },
  constants: [
    "TILE_M",
    "TILE_N",
    "TILE_K",
    "A_TRANSPOSED",
    "B_TRANSPOSED",
    "B_DTYPE",
    "ACCUMULATE",
    "LOWER_ONLY",
  ],
});

/** A matrix in a buffer. `stride` (elements from row to row) and `offset` are multiples of 16 bytes' worth. */
export interface Matrix {
  readonly buffer: BufferPart;
  readonly stride: number;
  readonly offset?: number;
}

export interface MatmulOptions {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** (m, k) float32, or (k, m) with `aTransposed`. */
  readonly a: Matrix;
  readonly aTransposed?: boolean;
  /** (n, k), as Linear weights lie, or (k, n) float32 with `bTransposed: false`. */
  readonly b: Matrix;
  readonly bTransposed?: boolean;
  /** dtype of b; 16-bit ones only where b is (n, k). */
  readonly bDtype?: FloatDtype;
  /** (m, n) float32. */
  readonly c: Matrix;
  /** Factor of the product; default 1. */
  readonly alpha?: number;
  /** Adds to c instead of replacing it. */
  readonly accumulate?: boolean;
  /** c's place in a symmetric matrix of which only the lower triangle is wanted. */
  readonly lowerAt?: { readonly row: number; readonly column: number };
}

export interface MatmulTile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Fits the smallest limits (16 KiB of workgroup memory, 64 invocations). */
const SMALL_TILE: MatmulTile = { m: 64, n: 64, k: 16 };

/** c = alpha · a · b, cut into dispatches of bounded work. Rows and columns past m and n are not written. */
export async function matmul(gpu: Gpu, options: MatmulOptions, tile = SMALL_TILE): Promise<void> {
  const { m, n, k, a, b, c, lowerAt, bDtype = "F32" } = options;
  const { aTransposed = false, bTransposed = true, accumulate = false } = options;
  checkAlignment(options);
  const tilesN = Math.ceil(n / tile.n);
  const tiles = Math.ceil(m / tile.m) * tilesN;
  const work = 2 * tile.m * tile.n * k;
  for (const { first, end } of gpu.queue.split(matmulKernel, tiles, work)) {
    await gpu.queue.run(matmulKernel, {
      params: {
        m,
        n,
        k,
        a_stride: a.stride,
        b_stride: b.stride,
        c_stride: c.stride,
        a_offset: a.offset ?? 0,
        b_offset: b.offset ?? 0,
        c_offset: c.offset ?? 0,
        alpha: options.alpha ?? 1,
        tiles_n: tilesN,
        first_tile: first,
        end_tile: end,
        row_origin: lowerAt?.row ?? 0,
        column_origin: lowerAt?.column ?? 0,
      },
      buffers: { a: a.buffer, b: b.buffer, c: c.buffer },
      constants: {
        TILE_M: tile.m,
        TILE_N: tile.n,
        TILE_K: tile.k,
        A_TRANSPOSED: Number(aTransposed),
        B_TRANSPOSED: Number(bTransposed),
        B_DTYPE: DTYPE_CODE[bDtype],
        ACCUMULATE: Number(accumulate),
        LOWER_ONLY: Number(lowerAt !== undefined),
      },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}

function checkAlignment({ n, a, b, c, bTransposed = true, bDtype = "F32" }: MatmulOptions): void {
  const bMultiple = bDtype === "F32" ? 4 : 8;
  invariant(bTransposed || bDtype === "F32", "a 16-bit b lies as (n, k)");
  for (const [matrix, multiple] of [
    [a, 4],
    [b, bMultiple],
    [c, 4],
  ] as const) {
    invariant(
      matrix.stride % multiple === 0,
      `a stride of ${matrix.stride} is not a multiple of ${multiple}`,
    );
    invariant(
      (matrix.offset ?? 0) % multiple === 0,
      `an offset of ${matrix.offset} is not a multiple of ${multiple}`,
    );
  }
  invariant(c.stride >= n, "rows of c overlap");
}
