// Matrix units for a job's forward products and its Hessians: where the browser offers them, their sums are right, and they are
// faster.

import { openTogether } from "../../disposal.ts";
import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../gpu.ts";
import { ReadbackRing } from "../staging/readback-ring.ts";
import { UploadRing } from "../staging/upload-ring.ts";
import { matmul } from "./matmul.ts";
import { compileHalves, createMatrixUnits, MATRIX_UNITS_BYTES, matmulHalves } from "./matmul-halves.ts";
import { compileRankKHalves, findLargest, rankKHalves } from "../triangular/rank-k-halves.ts";
import { hasRoomFor } from "./matrix-shape.ts";
import { areMatricesFaster, isWideFaster } from "./tune-matmul.ts";
import type { MatrixUnits } from "../device/tuning.ts";

/** Of the check: 128 x 128 results of 512 products each. */
const SIZE = 128;
const DEPTH = 512;
const RING = { pieceBytes: SIZE * DEPTH * 4, pieces: 1 };
/** Of root mean squares: pairs of halves are off by 2e-7, or 1e-5 where sums are cut instead of rounded; single halves by 2e-4. */
const TOLERANCE = 5e-5;

/**
 * Sets `gpu.tuning.matrices`, or leaves it null. Disposing the result frees what it holds.
 * @param anyway takes units that work whether they are faster or not
 */
export async function openMatrixUnits(gpu: Gpu, anyway = false): Promise<Disposable> {
  const { matrices: shape } = gpu.adapter;
  if (!shape) return { [Symbol.dispose]: () => undefined };
  return await openTogether(async (parts) => {
    const request = { label: "largest magnitudes", bytes: MATRIX_UNITS_BYTES };
    const units = createMatrixUnits(shape, parts.use(await gpu.memory.allocate(request)));
    parts.use({ [Symbol.dispose]: () => void (gpu.tuning.matrices = null) });
    const works = await areForProducts(gpu, units, false);
    if (works && (anyway || (await areMatricesFaster(gpu, units)))) gpu.tuning.matrices = units;
    if (!gpu.tuning.matrices) return {};
    const hasWide = hasRoomFor(shape, gpu.device.limits, true) && (await areForProducts(gpu, units, true));
    units.wide = hasWide && (await isWideFaster(gpu, units));
    // Whether they are faster is not measured again: results must not depend on a race that is nearly a draw.
    units.hessians = await areForHessians(gpu, units);
    return {};
  });
}

async function areForProducts(gpu: Gpu, units: MatrixUnits, wide: boolean): Promise<boolean> {
  const compile = async () => await compileHalves(gpu, units, { bDtype: "BF16" }, wide);
  return (await compiles(gpu, compile)) && (await areSumsRight(gpu, units, wide));
}

async function areForHessians(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
  const compiled = await compiles(gpu, async () => await compileRankKHalves(gpu, units));
  return compiled && (await areHessiansRight(gpu, units));
}

/** Tries a kernel: the language of the feature has changed before, and drivers may refuse what browsers take. */
async function compiles(gpu: Gpu, compile: () => Promise<void>): Promise<boolean> {
  gpu.device.pushErrorScope("validation");
  const pipeline = compile().then(
    () => true,
    () => false,
  );
  const error = await gpu.device.popErrorScope();
  return (await pipeline) && error === null;
}

/** Compares a product on matrix units with the one in float32: the feature is experimental, and so are its drivers. */
async function areSumsRight(gpu: Gpu, units: MatrixUnits, wide: boolean): Promise<boolean> {
  using uploads = await UploadRing.create(gpu, RING);
  using readbacks = await ReadbackRing.create(gpu, RING);
  using a = await gpu.memory.allocate({ label: "check of products: a", bytes: SIZE * DEPTH * 4 });
  using b = await gpu.memory.allocate({ label: "check of products: b", bytes: SIZE * DEPTH * 2 });
  using c = await gpu.memory.allocate({ label: "check of products: c", bytes: SIZE * SIZE * 4 });
  await uploads.write(new Uint8Array(waves(0.7).buffer), a);
  await uploads.write(narrowFromFloat32("BF16", waves(1.3)), b);
  const shape = { m: SIZE, n: SIZE, k: DEPTH, bDtype: "BF16", ...matrices(a, b, c) } as const;
  const read = async () => new Float32Array((await readbacks.readBytes(c, 0, SIZE * SIZE * 4)).buffer);
  await matmul(gpu, shape, "small");
  const wanted = await read();
  await matmulHalves(gpu, units, shape, wide);
  return areAlike(await read(), wanted);
}

/** The same for a Hessian of `DEPTH` tokens. */
async function areHessiansRight(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
  using uploads = await UploadRing.create(gpu, RING);
  using readbacks = await ReadbackRing.create(gpu, RING);
  using x = await gpu.memory.allocate({ label: "check of Hessians: x", bytes: SIZE * DEPTH * 4 });
  using c = await gpu.memory.allocate({ label: "check of Hessians: c", bytes: SIZE * SIZE * 4 });
  await uploads.write(new Uint8Array(waves(0.7).buffer), x);
  const side = { buffer: x, stride: SIZE, offset: 0 };
  const shape = { m: SIZE, n: SIZE, k: DEPTH, a: side, b: side, c: { buffer: c, stride: SIZE } };
  const read = async () => new Float32Array((await readbacks.readBytes(c, 0, SIZE * SIZE * 4)).buffer);
  await matmul(gpu, { ...shape, aTransposed: true, bTransposed: false }, "small");
  const wanted = await read();
  await gpu.queue.clear(c);
  const slot = await findLargest(gpu, units, { x: side, rows: DEPTH, columns: SIZE });
  const panel = { firstRow: 0, rows: SIZE, stride: SIZE };
  await rankKHalves(gpu, units, { panel, buffer: c, x: side, rows: DEPTH, alpha: 1, slot });
  return areAlike(await read(), wanted, (index) => index % SIZE <= Math.floor(index / SIZE));
}

/** By root mean squares of what is wanted. */
function areAlike(
  found: Float32Array,
  wanted: Float32Array,
  isWanted: (index: number) => boolean = () => true,
): boolean {
  const compared = [...wanted.keys()].filter(isWanted);
  const difference = compared.map((index) => (found[index] ?? Number.NaN) - (wanted[index] ?? 0));
  const size = compared.map((index) => wanted[index] ?? 0);
  return Math.hypot(...difference) <= TOLERANCE * Math.hypot(...size);
}

function matrices<Buffer>(a: Buffer, b: Buffer, c: Buffer) {
  return { a: { buffer: a, stride: DEPTH }, b: { buffer: b, stride: DEPTH }, c: { buffer: c, stride: SIZE } };
}

/** Values between -1.5 and 1.5 whose low bits are all in use. */
function waves(frequency: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: SIZE * DEPTH }, (_, index) => Math.sin(index * index * frequency) * 1.5);
}
