// Matrix products in float32 on the GPU: Linear layers, triangular updates, everything that has many flops.

import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_CODE } from "../elements/dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import numberFormats from "../elements/number-formats.wgsl?raw";
import { struct } from "../struct.ts";
import directCode from "./matmul-direct.wgsl?raw";
import largeCode from "./matmul-large.wgsl?raw";
import operandsCode from "./matmul-operands.wgsl?raw";
import rightCode from "./matmul-right.wgsl?raw";
import twoRightsCode from "./matmul-two-rights.wgsl?raw";
import code from "./matmul.wgsl?raw";

/** What every product kernel is told; each adds its own. */
export const PRODUCT_FIELDS = {
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
} as const;
const FIELDS = { ...PRODUCT_FIELDS, row_origin: "u32", column_origin: "u32" } as const;
const BATCH_FIELDS = { batch_tiles: "u32", a_batch: "u32", b_batch: "u32", c_batch: "u32" } as const;
const BINDINGS = { a: "read", b: "read", c: "read_write" } as const;
const CONSTANTS = ["A_TRANSPOSED", "B_TRANSPOSED", "B_DTYPE", "ACCUMULATE", "LOWER_ONLY"] as const;

/** 64 x 64 results a workgroup: fits the smallest limits, wastes little on small shapes. */
export const matmulKernel = kernel({
  name: "gpu.matmul",
  code: [numberFormats, operandsCode, code],
  params: struct(FIELDS),
  bindings: BINDINGS,
  constants: CONSTANTS,
});

/** The same tile without workgroup memory: for adapters that are a processor. The same sums, so the same bits. */
export const directMatmulKernel = kernel({
  name: "gpu.matmul-direct",
  code: [numberFormats, operandsCode, directCode],
  params: struct(FIELDS),
  bindings: BINDINGS,
  constants: CONSTANTS,
});

/** 128 x 128 results a workgroup: for GPUs with many registers. The same sums, so the same bits. */
export const largeMatmulKernel = kernel({
  name: "gpu.matmul-large",
  code: [numberFormats, rightCode, largeCode],
  params: struct({ ...FIELDS, ...BATCH_FIELDS }),
  bindings: BINDINGS,
  constants: [...CONSTANTS, "PADDING", "BATCHED"],
});

/** The same of two products, whose weights lie in buffers of their own. */
export const largePairKernel = kernel({
  name: "gpu.matmul-large-pair",
  code: [numberFormats, twoRightsCode, largeCode],
  params: struct({ ...FIELDS, ...BATCH_FIELDS }),
  bindings: { ...BINDINGS, second_b: "read" },
  constants: [...CONSTANTS, "PADDING", "BATCHED"],
});

/** A matrix in a buffer. `stride` (elements from row to row) and `offset` are multiples of 16 bytes' worth. */
export interface Matrix {
  readonly buffer: BufferPart;
  readonly stride: number;
  readonly offset?: number;
}

/** A matrix from a row and a column on. */
export function matrixFrom(matrix: Matrix, row: number, column = 0): Required<Matrix> {
  return { ...matrix, offset: (matrix.offset ?? 0) + row * matrix.stride + column };
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

/** Rows of activations by a Linear's weight: c = alpha · a · bᵀ, or c += that. */
export type LinearProduct = Omit<MatmulOptions, "aTransposed" | "bTransposed" | "lowerAt">;

/** What is compiled into a product. */
export type MatmulForm = Pick<
  MatmulOptions,
  "aTransposed" | "bTransposed" | "bDtype" | "accumulate" | "lowerAt"
>;

export type MatmulTile = "direct" | "small" | "large";

export const TILE_SIZE: Readonly<Record<MatmulTile, number>> = { direct: 64, small: 64, large: 128 };
/** Workgroup memory of the large tiles of a and b, with a vec4 of padding in each of their 2 x 16 rows. */
const PADDED_TILES_BYTES = 2 * 16 * (128 / 4 + 1) * 16;

/** The tile for shapes that fill no larger one, or are not faster with it: on a processor the one that needs no workgroup memory. */
export function leastTile({ adapter }: Pick<Gpu, "adapter">): Exclude<MatmulTile, "large"> {
  return adapter.software ? "direct" : "small";
}

/** The tile for a shape: large ones where the GPU was found to be faster with them, and the shape fills them and the GPU. */
export function chooseTile(gpu: Pick<Gpu, "tuning" | "adapter">, m: number, n: number): MatmulTile {
  const { largeProducts, largeFrom } = gpu.tuning;
  const tiles = Math.ceil(m / TILE_SIZE.large) * Math.ceil(n / TILE_SIZE.large);
  const isFilled = m > TILE_SIZE.small && n > TILE_SIZE.small && tiles >= largeFrom;
  return largeProducts && isFilled ? "large" : leastTile(gpu);
}

/** Begins to compile a product before it is wanted; if not said otherwise, with the tiles of large shapes and of those that fill few. */
export function prepareMatmul(gpu: Gpu, form: MatmulForm, only?: MatmulTile): void {
  const { largeProducts, largeFrom } = gpu.tuning;
  const constants = constantsOf(form);
  const tile = only ?? (largeProducts ? "large" : leastTile(gpu));
  if (tile !== "large") gpu.queue.prepare(tileKernel(tile), constants);
  else {
    if (!only && largeFrom > 1) gpu.queue.prepare(tileKernel(leastTile(gpu)), constants);
    gpu.queue.prepare(largeMatmulKernel, { ...constants, PADDING: paddingOf(gpu), BATCHED: 0 });
  }
}

function tileKernel(tile: Exclude<MatmulTile, "large">) {
  return tile === "direct" ? directMatmulKernel : matmulKernel;
}

/** c = alpha · a · b, cut into dispatches of bounded work. Rows and columns past m and n are not written. */
export async function matmul(
  gpu: Gpu,
  options: MatmulOptions,
  tile = chooseTile(gpu, options.m, options.n),
): Promise<void> {
  const { m, n, k, lowerAt } = options;
  checkAlignment(options);
  const size = TILE_SIZE[tile];
  const tilesN = Math.ceil(n / size);
  const tiles = Math.ceil(m / size) * tilesN;
  const work = 2 * size * size * k;
  const chosen = tile === "large" ? largeMatmulKernel : tileKernel(tile);
  for (const { first, end } of gpu.queue.split(chosen, tiles, work)) {
    const dispatch = {
      params: {
        ...productParams(options),
        tiles_n: tilesN,
        first_tile: first,
        end_tile: end,
        row_origin: lowerAt?.row ?? 0,
        column_origin: lowerAt?.column ?? 0,
      },
      buffers: { a: options.a.buffer, b: options.b.buffer, c: options.c.buffer },
      constants: constantsOf(options),
      workgroups: spreadWorkgroups(end - first),
      work: (lowerTiles(options, size, end) - lowerTiles(options, size, first)) * work,
    };
    if (tile !== "large") await gpu.queue.run(tileKernel(tile), dispatch);
    else {
      const constants = { ...dispatch.constants, PADDING: paddingOf(gpu), BATCHED: 0 };
      const params = { ...dispatch.params, batch_tiles: tiles, a_batch: 0, b_batch: 0, c_batch: 0 };
      await gpu.queue.run(largeMatmulKernel, { ...dispatch, params, constants });
    }
  }
}

/** Those of the first `count` tiles that are not left alone: what the queue learns of the GPU's speed comes from these. */
export function lowerTiles(
  { n, lowerAt }: Pick<MatmulOptions, "n" | "lowerAt">,
  size: number,
  count: number,
): number {
  if (!lowerAt) return count;
  const tilesN = Math.ceil(n / size);
  let wanted = 0;
  for (let row = 0; row * tilesN < count; row++) {
    const upToDiagonal = Math.floor((lowerAt.row + (row + 1) * size - 1 - lowerAt.column) / size) + 1;
    wanted += Math.max(Math.min(upToDiagonal, tilesN, count - row * tilesN), 0);
  }
  return wanted;
}

/** Params of a product but for its tiles. */
export function productParams({ m, n, k, a, b, c, alpha = 1 }: LinearProduct) {
  return {
    m,
    n,
    k,
    a_stride: a.stride,
    b_stride: b.stride,
    c_stride: c.stride,
    a_offset: a.offset ?? 0,
    b_offset: b.offset ?? 0,
    c_offset: c.offset ?? 0,
    alpha,
  };
}

/** What a product's kernel is compiled with, whichever tile it has. */
export function constantsOf({ aTransposed, bTransposed, bDtype, accumulate, lowerAt }: MatmulForm) {
  return {
    A_TRANSPOSED: Number(aTransposed ?? false),
    B_TRANSPOSED: Number(bTransposed ?? true),
    B_DTYPE: DTYPE_CODE[bDtype ?? "F32"],
    ACCUMULATE: Number(accumulate ?? false),
    LOWER_ONLY: Number(lowerAt !== undefined),
  };
}

/** 1 where workgroup memory has room for the padding of large tiles. */
export function paddingOf({ device }: Gpu): number {
  return Number(device.limits.maxComputeWorkgroupStorageSize >= PADDED_TILES_BYTES);
}

/** @throws Error where rows do not start at 16 bytes, or rows of c overlap. */
export function checkAlignment({ n, a, b, c, bTransposed = true, bDtype = "F32" }: MatmulOptions): void {
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
