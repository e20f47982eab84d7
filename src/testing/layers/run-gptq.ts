// GPTQ of one module in tests: from weights and a Hessian in memory to tensors in memory, read as a loader reads them.

import { readRowParts, visitRows } from "../../formats/weights/dequantize.ts";
import { narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { allocateCholeskyScratch } from "../../gpu/triangular/cholesky-scratch.ts";
import {
  type FactoredHessian,
  beginFactoring,
  type FactorScratch,
  readHessianDiagonals,
} from "../../quantize/gptq/factor-hessian.ts";
import { moduleContexts, needsScan, observeModule } from "../../quantize/gptq/observe-module.ts";
import {
  allocateGptqWorkspace,
  type ModuleContext,
  type ModuleOutcome,
  type ModuleServices,
  quantizeModule,
} from "../../quantize/gptq/quantize-module.ts";
import type { GptqTask } from "../../quantize/gptq/gptq-task.ts";
import { PLAIN_CONTEXT } from "../../quantize/observe/observe-tile.ts";
import type { RtnTask } from "../../quantize/rtn/tile-buffers.ts";
import { openTestGpu, type TestGpu } from "../test-gpu/open-test-gpu.ts";
import { uploadSquare } from "../test-gpu/square.ts";
import { uploadTriangle } from "../test-gpu/triangle.ts";

/** A GPU with the rings that modules go through. */
export interface GptqBench extends Disposable {
  readonly test: TestGpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
}

export async function openGptqBench(): Promise<GptqBench> {
  const test = await openTestGpu();
  const uploads = await UploadRing.create(test.gpu, { pieceBytes: 2 ** 18, pieces: 1 });
  const readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 2 ** 18, pieces: 1 });
  return {
    test,
    uploads,
    readbacks,
    [Symbol.dispose]() {
      uploads[Symbol.dispose]();
      readbacks[Symbol.dispose]();
      test[Symbol.dispose]();
    },
  };
}

async function scratchOf(
  { test, uploads, readbacks }: GptqBench,
  n: number,
): Promise<FactorScratch & Disposable> {
  const cholesky = await allocateCholeskyScratch(test.gpu, n);
  const vector = await test.empty("vector", n * 4);
  return {
    cholesky,
    vector,
    uploads,
    readbacks,
    [Symbol.dispose]() {
      cholesky[Symbol.dispose]();
      vector[Symbol.dispose]();
    },
  };
}

export interface GptqResult {
  readonly factored: FactoredHessian;
  readonly context: ModuleContext;
  /** What each code stands for, without scale and zero point. */
  readonly numbers: Float32Array;
  readonly zeroPoints: Int32Array;
  /** Each weight's scale, over the global one. */
  readonly scales: Float32Array;
  /** What the walk took for the meaning of its codes. */
  readonly dequantized: Float32Array;
  readonly tensors: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  readonly outcome: ModuleOutcome;
}

interface GptqRun {
  readonly frac?: number;
  readonly tileRows?: number;
  /** (X̃ − X)ᵀX of the input, (n, n); none if absent. */
  readonly drift?: Float64Array;
  /** Sets of results, with two of which a tile is read while the next one is computed; default one. */
  readonly resultSets?: number;
  /** What is put between a module and what it works with. */
  readonly between?: (services: ModuleServices) => ModuleServices;
}

/** Quantizes a module in tiles and reads its tensors as a loader does. */
export async function runGptq(
  bench: GptqBench,
  task: GptqTask,
  weights: Float32Array,
  h: Float64Array,
  { frac = 0.01, tileRows = task.rows, drift, resultSets = 1, between = (own) => own }: GptqRun = {},
): Promise<GptqResult> {
  const { columns, dtype } = task;
  const { test } = bench;
  using hessian = await uploadTriangle(test, h, columns, 1_000_000);
  using scratch = await scratchOf(bench, columns);
  using workspace = await allocateGptqWorkspace(test.gpu, [{ task, tileRows }], resultSets);
  const byActivation = task.weights.actorder !== null;
  const [diagonal = new Float32Array()] = await readHessianDiagonals(test.gpu, [hessian], bench.readbacks);
  const options = { diagonal, byActivation, dampeningFrac: frac, name: "test" } as const;
  const factored = await (await beginFactoring(test.gpu, hessian, options, scratch)).finish();
  const files = memoryFiles(bench, task, weights);
  const scans = needsScan(task.weights);
  const observed = scans
    ? await (
        await observeModule({ task, tileRows }, factored, workspace, files.services)
      ).observed
    : null;
  const context = moduleContexts([{ task, observed }]).get(task.module) ?? PLAIN_CONTEXT;
  using moved = drift ? await uploadSquare(test, drift, columns) : null;
  const module = { task, tileRows, context, drift: moved };
  const quantizing = await quantizeModule(module, factored, workspace, between(files.services));
  const outcome = await quantizing.outcome;
  const { numbers, zeroPoints, scales } = await readBack(task, files.tensors);
  const dequantized = widenToFloat32(dtype, files.meaning);
  return {
    factored,
    context,
    numbers,
    zeroPoints,
    scales,
    dequantized,
    tensors: files.tensors,
    outcome,
  };
}

/** A module's source, meaning and tensors in memory. */
function memoryFiles(
  { test, uploads, readbacks }: GptqBench,
  { dtype, rows }: RtnTask,
  weights: Float32Array,
) {
  const source = narrowFromFloat32(dtype, weights);
  const rowBytes = source.byteLength / rows;
  const meaning = new Uint8Array(source.byteLength);
  const tensors = new Map<string, Uint8Array<ArrayBuffer>>();
  const services: ModuleServices = {
    gpu: test.gpu,
    uploads,
    readbacks,
    weights: {
      async load(firstRow, count, to) {
        await uploads.write(source.slice(firstRow * rowBytes, (firstRow + count) * rowBytes), to);
      },
      async store(firstRow, count, from) {
        meaning.set(await readbacks.readBytes(from, 0, count * rowBytes), firstRow * rowBytes);
      },
    },
    write(tensor, offset, bytes) {
      const grown = new Uint8Array(Math.max(offset + bytes.byteLength, tensors.get(tensor)?.byteLength ?? 0));
      grown.set(tensors.get(tensor) ?? []);
      grown.set(bytes, offset);
      tensors.set(tensor, grown);
    },
    checkpoint: async () => await Promise.resolve(),
  };
  return { services, meaning, tensors };
}

async function readBack(task: RtnTask, tensors: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
  const { rows, columns } = task;
  const weight = { ...task, args: task.weights };
  const parts = await readRowParts(weight, 0, rows, async (name, range) => {
    const bytes = tensors.get(`m.${name}`);
    return await Promise.resolve(bytes ? bytes.slice(range?.start, range?.end) : null);
  });
  const numbers = new Float32Array(rows * columns);
  const zeroPoints = new Int32Array(rows * columns);
  const scales = new Float32Array(rows * columns);
  visitRows(weight, 0, rows, parts, (index, number, zeroPoint, scale) => {
    numbers[index] = number;
    zeroPoints[index] = zeroPoint;
    scales[index] = scale;
  });
  return { numbers, zeroPoints, scales };
}
