// Matrix units for a job's forward products: where the browser offers them, their sums are right, and they are faster.

import { narrowFromFloat32 } from "../../formats/dtype.ts";
import type { Gpu } from "../gpu.ts";
import { ReadbackRing, UploadRing } from "../staging.ts";
import { matmul } from "./matmul.ts";
import { compileHalves, createMatrixUnits, MATRIX_UNITS_BYTES, matmulHalves } from "./matmul-halves.ts";
import { areMatricesFaster } from "./tune-matmul.ts";
import type { MatrixUnits } from "../tuning.ts";

/** Of the check: 128 x 128 results of 512 products each. */
const SIZE = 128;
const DEPTH = 512;
const RING = { pieceBytes: SIZE * DEPTH * 4, pieces: 1 };
/** Of root mean squares: pairs of halves are off by 2e-7, or 1e-5 where sums are cut instead of rounded; single halves by 2e-4. */
const TOLERANCE = 5e-5;

/**
 * Sets `gpu.tuning.matrices`, or leaves it null. Disposing the result frees what it holds.
 * @param isWanted tells whether to use units that work; default: if they are faster
 */
export async function openMatrixUnits(
  gpu: Gpu,
  isWanted: (gpu: Gpu, units: MatrixUnits) => boolean | Promise<boolean> = areMatricesFaster,
): Promise<Disposable> {
  const { matrices: shape } = gpu.adapter;
  if (!shape) return { [Symbol.dispose]: () => undefined };
  const largest = await gpu.memory.allocate({ label: "largest magnitudes", bytes: MATRIX_UNITS_BYTES });
  const units = createMatrixUnits(shape, largest);
  const works = (await compiles(gpu, units)) && (await areSumsRight(gpu, units));
  if (works && (await isWanted(gpu, units))) gpu.tuning.matrices = units;
  return {
    [Symbol.dispose]() {
      gpu.tuning.matrices = null;
      largest[Symbol.dispose]();
    },
  };
}

/** Tries the kernel: the language of the feature has changed before, and drivers may refuse what browsers take. */
async function compiles(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
  gpu.device.pushErrorScope("validation");
  const pipeline = compileHalves(gpu, units, { bDtype: "BF16" }).then(
    () => true,
    () => false,
  );
  const error = await gpu.device.popErrorScope();
  return (await pipeline) && error === null;
}

/** Compares a product on matrix units with the one in float32: the feature is experimental, and so are its drivers. */
async function areSumsRight(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
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
  await matmulHalves(gpu, units, shape);
  const found = await read();
  const difference = found.map((value, index) => value - (wanted[index] ?? Number.NaN));
  return Math.hypot(...difference) <= TOLERANCE * Math.hypot(...wanted);
}

function matrices<Buffer>(a: Buffer, b: Buffer, c: Buffer) {
  return { a: { buffer: a, stride: DEPTH }, b: { buffer: b, stride: DEPTH }, c: { buffer: c, stride: SIZE } };
}

/** Values between -1.5 and 1.5 whose low bits are all in use. */
function waves(frequency: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: SIZE * DEPTH }, (_, index) => Math.sin(index * index * frequency) * 1.5);
}
