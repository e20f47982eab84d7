// The guard against silent damage: before a job is done, the written folder is opened again. Headers must be the plan's,
// config.json must agree with the tensors, and a sample of weights must read back as what the source holds.

import { VerificationError } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { type QuantizedWeight, readRowParts, type RowParts } from "../../formats/weights/dequantize.ts";
import { type Fold, foldRows } from "../../formats/weights/fold.ts";
import { DTYPE_BITS, isFloatDtype, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import {
  HEADER_PREFIX_BYTES,
  parseHeader,
  parseHeaderLength,
  type TensorEntry,
} from "../../formats/safetensors/safetensors.ts";
import type { OutputPlan } from "../../formats/safetensors/shards.ts";
import type { QuantizeTask, StepPlan } from "../../plan/plan-steps.ts";
import { checkShapes, quantizedModules } from "../../plan/checkpoint/quantized-modules.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { quantizerFor } from "../../quantize/quantizers.ts";
import { readQuantization } from "../../plan/checkpoint/read-quantization.ts";
import { checkInRange, checkRounded } from "./verify-weight.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";

/** Modules and plain tensors whose bytes are compared, spread over the model; each costs a small read of the source. */
const SAMPLES = 12;
/** What a browser asks one HTTP/1.1 server for at a time: a server may take seconds for each answer. */
const CHECKS_AT_ONCE = 6;
/** Source bytes of one sample, in whole rows. */
const SAMPLE_BYTES = 64 * 1024;

/** What is checked against what. */
export interface Verification {
  readonly plan: Pick<StepPlan, "steps"> & { readonly output: OutputPlan };
  /** A range of a file of the result. */
  readonly readResult: (range: FileRange) => Promise<Uint8Array<ArrayBuffer>>;
  /** Bytes of a file of the result. */
  readonly resultBytes: (path: string) => Promise<number>;
  /** What modifiers folded into tensors: the result is held against the source with it. */
  readonly folds: ReadonlyMap<string, readonly Fold[]>;
  /** A small range of the source. */
  readonly readSource: (range: FileRange) => Promise<Uint8Array<ArrayBuffer>>;
  readonly checkpoint: () => Promise<void>;
}

interface Written extends TensorEntry {
  readonly file: string;
}

/**
 * Checks a written folder.
 * @throws VerificationError with module, tensor and value, MalformedModelError if a header cannot be parsed.
 */
export async function verifyResult(verification: Verification): Promise<void> {
  const written = await readShards(verification);
  const tasks = verification.plan.steps.flatMap((step) => step.quantize);
  await checkConfig(verification, written, tasks);
  const tensors = new Map(written.map((tensor) => [tensor.name, tensor]));
  const copied = sample(verification.plan.steps.flatMap((step) => step.copy));
  await inParallel(verification, [
    ...sample(tasks).map((task) => async () => await checkTask(verification, tensors, task)),
    ...copied.map((tensor) => async () => await checkCopy(verification, tensors, tensor)),
  ]);
  await checkMeasured(verification, written);
}

/** Runs checks, which mostly wait for the source, some at a time. */
async function inParallel(
  { checkpoint }: Verification,
  checks: readonly (() => Promise<void>)[],
): Promise<void> {
  await mapLimited(CHECKS_AT_ONCE, checks, async (check) => {
    await checkpoint();
    await check();
  });
}

/** Evenly spread, first and last included. */
function sample<Item>(items: readonly Item[]): Item[] {
  if (items.length <= SAMPLES) return [...items];
  const last = items.length - 1;
  return Array.from(
    { length: SAMPLES },
    (_, index) => items[Math.round((index * last) / (SAMPLES - 1))],
  ).filter((item) => item !== undefined);
}

async function readShards({ plan, readResult, resultBytes }: Verification): Promise<Written[]> {
  const written: Written[] = [];
  for (const { path, fileBytes, header, entries } of plan.output.shards) {
    const bytes = await resultBytes(path);
    if (bytes !== fileBytes) {
      throw new VerificationError(
        `${path} has ${bytes} bytes where the plan has ${fileBytes}. Start the job again.`,
      );
    }
    const prefix = await readResult({ path, start: 0, end: HEADER_PREFIX_BYTES });
    const end = HEADER_PREFIX_BYTES + parseHeaderLength(path, prefix, bytes);
    const json = await readResult({ path, start: HEADER_PREFIX_BYTES, end });
    const found = parseHeader(path, json, bytes);
    if (end !== header.byteLength) throw headerError(path, "its header");
    for (const [index, entry] of entries.entries()) {
      if (JSON.stringify(found[index]) !== JSON.stringify(entry)) throw headerError(path, entry.name);
    }
    written.push(...found.map((entry) => ({ ...entry, file: path })));
  }
  return written;
}

function headerError(path: string, what: string): VerificationError {
  return new VerificationError(
    `${path} does not have ${what} where the plan put it: the file was changed or damaged. Start the job again.`,
  );
}

/** config.json, its ignore list and the tensors must agree: what they do not is loaded as random numbers. */
async function checkConfig(
  { readResult, resultBytes }: Verification,
  written: readonly Written[],
  tasks: readonly QuantizeTask[],
): Promise<void> {
  const path = "config.json";
  const config = readConfig(await readResult({ path, start: 0, end: await resultBytes(path) }));
  const quantization = readQuantization(config.raw);
  if (tasks.length === 0 && !quantization) return;
  if (!quantization) throw new VerificationError("The written config.json has no quantization_config.");
  const found = new Map(quantizedModules(written, quantization).map((entry) => [entry.module, entry]));
  for (const task of tasks) {
    const module = found.get(task.module);
    if (!module)
      throw new VerificationError(`${task.module} was to be quantized, but no file has its scales.`);
    checkShapes(module, [task.rows, task.columns], task.dtype);
    found.delete(task.module);
  }
  const [unplanned] = found.keys();
  if (unplanned !== undefined) {
    throw new VerificationError(`${unplanned} is quantized in the files, but the plan leaves it as it is.`);
  }
}

/** Scales that calibration measured: one that was never written is 0. */
async function checkMeasured({ readResult }: Verification, written: readonly Written[]): Promise<void> {
  for (const { name, dtype, file, start, end } of written) {
    if (!/\.(input|k|v)(_global)?_scale$/.test(name) || !isFloatDtype(dtype)) continue;
    const values = widenToFloat32(dtype, await readResult({ path: file, start, end }));
    const wrong = values.find((value) => !(Number.isFinite(value) && value > 0));
    if (wrong === undefined) continue;
    throw new VerificationError(
      `${name} is ${wrong}; a measured scale is above 0. The result must not be used: start the job again with other samples, and if this comes again, report it.`,
    );
  }
}

async function checkCopy(
  verification: Verification,
  tensors: ReadonlyMap<string, Written>,
  tensor: SourceTensor,
): Promise<void> {
  const { name, start, end } = tensor;
  const { readResult } = verification;
  const written = tensors.get(name);
  const rowBytes = bytesOfRow(tensor);
  const length = Math.min(end - start, Math.max(Math.floor(SAMPLE_BYTES / rowBytes), 1) * rowBytes);
  if (!written || written.end - written.start !== end - start) {
    throw new VerificationError(`${name} was to be carried through, but is missing or of another size.`);
  }
  const source = await readFolded(verification, tensor, 0, length / rowBytes);
  const result = await readResult({ path: written.file, start: written.start, end: written.start + length });
  const wrong = result.findIndex((byte, index) => byte !== source[index]);
  if (wrong < 0) return;
  throw new VerificationError(
    `${name} was to be carried through, but its byte ${wrong} is ${result[wrong]} where the source has ${source[wrong]}. Start the job again.`,
  );
}

async function checkTask(
  verification: Verification,
  tensors: ReadonlyMap<string, Written>,
  task: QuantizeTask,
): Promise<void> {
  const { module, weights: args, format, dtype, rows, columns, tensor } = task;
  const weight = { args, format, dtype, rows, columns };
  const rowBytes = (columns * DTYPE_BITS[dtype]) / 8;
  const count = Math.min(Math.max(Math.floor(SAMPLE_BYTES / rowBytes), 1), rows);
  const firstRow = Math.floor((rows - count) / 2);
  const parts = await readParts(verification, tensors, module, weight, { firstRow, count });
  const sampled = { module, weight, firstRow, rows: count, parts };
  if (quantizerFor(task).expects === "in range") {
    checkInRange(sampled);
    return;
  }
  const source = await readFolded(verification, tensor, firstRow, count);
  checkRounded(sampled, widenToFloat32(dtype, source));
}

/** Bytes of a matrix's row; of a vector, of an element. */
function bytesOfRow({ dtype, shape }: SourceTensor): number {
  return Math.max((DTYPE_BITS[dtype] * (shape.length > 1 ? (shape.at(-1) ?? 1) : 1)) / 8, 1);
}

/** Rows of the source as modifiers left them. */
async function readFolded(
  { readSource, folds }: Verification,
  tensor: SourceTensor,
  firstRow: number,
  rows: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const { name, dtype, shape, file } = tensor;
  const rowBytes = bytesOfRow(tensor);
  const start = tensor.start + firstRow * rowBytes;
  const bytes = await readSource({ path: file, start, end: start + rows * rowBytes });
  const own = folds.get(name);
  if (!own || !isFloatDtype(dtype)) return bytes;
  return foldRows(bytes, { dtype, columns: shape.length > 1 ? (shape.at(-1) ?? 1) : 1, firstRow }, own);
}

async function readParts(
  { readResult }: Verification,
  tensors: ReadonlyMap<string, Written>,
  module: string,
  weight: QuantizedWeight,
  { firstRow, count }: { readonly firstRow: number; readonly count: number },
): Promise<RowParts> {
  return await readRowParts(weight, firstRow, count, async (part, range) => {
    const written = tensors.get(`${module}.${part}`);
    if (!written) return null;
    const { file: path, start, end } = written;
    return await readResult(
      range ? { path, start: start + range.start, end: start + range.end } : { path, start, end },
    );
  });
}
