// Products of float32 activations by 16-bit weights on matrix units: each float32 as a pair of float16 halves. 22 bits of a
// significand instead of 24, at the rate of float16; where float32 matters (Cholesky, GPTQ) it is not used.

import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_CODE } from "../elements/dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { kernel, spreadWorkgroups } from "../kernel.ts";
import type { LedgerBuffer } from "../memory.ts";
import numberFormats from "../elements/number-formats.wgsl?raw";
import { struct } from "../struct.ts";
import { findLargestMagnitude } from "./largest-magnitude.ts";
import halves from "./halves.wgsl?raw";
import code from "./matmul-halves.wgsl?raw";
import { checkAlignment, type LinearProduct, PRODUCT_FIELDS, productParams } from "./matmul.ts";
import { kernelsByShape } from "./matrix-kernels.ts";
import { halvesWorkgroup, type MatrixShape } from "./matrix-shape.ts";
import type { MatrixUnits } from "../device/tuning.ts";

/** Products that may be recorded at once, those of all panels of a Hessian as one, each with the largest magnitudes of its two operands. */
const SLOTS = 64;
/** GPU bytes of the slots. */
export const MATRIX_UNITS_BYTES = SLOTS * 8;

export function createMatrixUnits(shape: MatrixShape, largest: LedgerBuffer): MatrixUnits {
  let taken = 0;
  return { shape, hessians: false, wide: false, largest, takeSlot: () => taken++ % SLOTS };
}

export type HalvesOptions = LinearProduct & { readonly bDtype: Exclude<FloatDtype, "F32"> };

/** The kernel for a GPU's matrices. */
export const halvesKernel = kernelsByShape(
  { name: "gpu.matmul-halves", code: [code, halves, numberFormats] },
  (made) =>
    kernel({
      ...made,
      params: struct({ ...PRODUCT_FIELDS, slot: "u32" }),
      bindings: { a: "read", b: "read", largest: "read", c: "read_write" },
      constants: ["B_DTYPE", "ACCUMULATE"],
    }),
);

/** What is compiled into the product. */
type HalvesForm = Pick<HalvesOptions, "bDtype" | "accumulate">;

/** Compiles the product before it is wanted. */
export async function compileHalves(
  gpu: Gpu,
  { shape }: MatrixUnits,
  form: HalvesForm,
  wide: boolean,
): Promise<void> {
  await gpu.queue.compile(halvesKernel(shape, wide), constantsOf(form));
}

/** Begins to compile the product, in wide tiles too where they may be chosen; whoever runs it is told of a failure. */
export function prepareHalves(gpu: Gpu, { shape, wide }: MatrixUnits, form: HalvesForm): void {
  for (const own of wide ? [true, false] : [false])
    gpu.queue.prepare(halvesKernel(shape, own), constantsOf(form));
}

/** Products of fewer wide tiles leave too much of a large GPU idle. */
const WIDE_TILES = 96;

/** Whether a product is made in wide tiles: k must end with one, and a large GPU wants many of them. */
function isForWide({ shape, wide }: MatrixUnits, { m, n, k }: Pick<HalvesOptions, "m" | "n" | "k">): boolean {
  const { rows, columns, depth } = halvesWorkgroup(shape, true);
  return wide && k % depth === 0 && Math.ceil(m / rows) * Math.ceil(n / columns) >= WIDE_TILES;
}

/** Whether `matmulHalves` takes a product: k must end with a tile, and half of a tile's results would be a waste. */
export function isForHalves(
  { shape }: MatrixUnits,
  { m, n, k }: Pick<HalvesOptions, "m" | "n" | "k">,
): boolean {
  const { rows, columns, depth } = halvesWorkgroup(shape);
  return k % depth === 0 && m > rows / 2 && n > columns / 2;
}

/**
 * c = alpha · a · bᵀ, or c += that, in dispatches of bounded work; for what `isForHalves`. Rows and columns past m and n are
 * not written. Wide tiles and others give the same bits.
 */
export async function matmulHalves(
  gpu: Gpu,
  units: MatrixUnits,
  options: HalvesOptions,
  wide = isForWide(units, options),
): Promise<void> {
  const { m, n, k, a, b, c, bDtype, accumulate } = options;
  checkAlignment(options);
  const { shape, largest } = units;
  const { rows, columns, depth } = halvesWorkgroup(shape, wide);
  invariant(k % depth === 0, "k does not end with a tile");
  const slot = units.takeSlot();
  await gpu.queue.clear(largest, slot * 8, 8);
  await findLargestMagnitude(gpu, { ...a, rows: m, columns: k, dtype: "F32" }, largest, slot * 2);
  await findLargestMagnitude(gpu, { ...b, rows: n, columns: k, dtype: bDtype }, largest, slot * 2 + 1);
  const tilesN = Math.ceil(n / columns);
  const work = 2 * rows * columns * k;
  const chosen = halvesKernel(shape, wide);
  for (const { first, end } of gpu.queue.split(chosen, Math.ceil(m / rows) * tilesN, work)) {
    await gpu.queue.run(chosen, {
      params: { ...productParams(options), tiles_n: tilesN, first_tile: first, end_tile: end, slot },
      buffers: { a: a.buffer, b: b.buffer, largest, c: c.buffer },
      constants: constantsOf({ bDtype, accumulate }),
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}

function constantsOf({ bDtype, accumulate = false }: HalvesForm) {
  return { B_DTYPE: DTYPE_CODE[bDtype], ACCUMULATE: Number(accumulate) };
}
