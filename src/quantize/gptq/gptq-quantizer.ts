// GPTQ as a quantizer, and what else takes its Hessian: a Hessian for each input that modules share, its factor, and tiles of rows beside them.

import { GPTQ } from "../../formats/modifiers/gptq.ts";
import type { Kernel } from "../../gpu/kernel.ts";
import { leastTile, prepareMatmul } from "../../gpu/matmul/matmul.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import { narrowKernel } from "../../gpu/elements/narrow.ts";
import { choleskyDiagonalKernel } from "../../gpu/triangular/cholesky.ts";
import { choleskyScratchBytes } from "../../gpu/triangular/cholesky-scratch.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { codeConstants } from "../encode/code-values.ts";
import { qparamsConstants, qparamsKernel, rangeKernel } from "../observe/observe-weight.ts";
import type { Quantizer, QuantizerLimits, QuantizerTask, QuantizePhase } from "../quantizer.ts";
import { dequantizeKernel, rtnErrorsKernel, walkKernel } from "./gptq-kernels.ts";
import { quantizeCaptures } from "./quantize-captures.ts";
import { gptqTileRows, gptqWorkspaceBytes } from "./quantize-module.ts";
import { descendKernel, fitKernel } from "../refine/refine-kernels.ts";
import { refineWork } from "../refine/refine-tile.ts";
import { driftWork } from "./drift-targets.ts";
import { driftOf, refinementOf } from "./gptq-task.ts";
import { gptqTileBytes } from "./gptq-buffers.ts";

/** Where a second factorisation, which begins before the first one is waited for, says how it went. */
const SECOND_STATUS_BYTES = 16;
/** Tiles that take more GPU memory than this are no faster. */
const MAX_TILE_BYTES = 1024 ** 3;

/** Those that take more than 40 ms to compile. */
const SLOW_KERNELS: readonly Kernel[] = [choleskyDiagonalKernel, rangeKernel, narrowKernel];
/** Those of them that are compiled for each kind of codes. */
const SLOW_CODE_KERNELS: readonly Kernel[] = [walkKernel, dequantizeKernel, rtnErrorsKernel];

export const gptqQuantizer: Quantizer = {
  name: GPTQ.name,
  statistics: (task) => (driftOf(task) > 0 ? ["hessian", "drift"] : ["hessian"]),
  tiled: false,
  expects: "in range",
  // A factorisation, n³ / 3, and the updates, rows · columns² for each module.
  work: (columns, tasks) => tasks.reduce((sum, task) => sum + moduleWork(task), columns ** 3 / 3),
  phase,
  overlapBytes,
  prepare(gpu, tasks) {
    const lowerAt = { row: 0, column: 0 };
    prepareMatmul(gpu, { aTransposed: true, bTransposed: false, accumulate: true, lowerAt }); // Hessians
    // Cholesky's wide products and its narrow ones
    prepareMatmul(gpu, { accumulate: true, lowerAt });
    prepareMatmul(gpu, { accumulate: true, lowerAt }, leastTile(gpu));
    prepareMatmul(gpu, { bTransposed: false, accumulate: true }); // the updates
    for (const kernel of SLOW_KERNELS) gpu.queue.prepare(kernel);
    for (const { weights, dtype } of tasks)
      gpu.queue.prepare(qparamsKernel, qparamsConstants(weights, dtype));
    for (const constants of new Set(tasks.map(({ weights }) => codeConstants(weights)))) {
      for (const kernel of SLOW_CODE_KERNELS) gpu.queue.prepare(kernel, constants);
    }
    const refined = tasks.filter((task) => refinementOf(task) !== null);
    for (const constants of new Set(refined.map(({ weights }) => codeConstants(weights)))) {
      for (const kernel of [fitKernel, descendKernel]) gpu.queue.prepare(kernel, constants);
    }
  },
  quantize: quantizeCaptures,
};

/** Rounding to nearest, and then the refinement that GPTQ's codes may have: all is the same but that nothing is walked. */
export const refinedQuantizer: Quantizer = { ...gptqQuantizer, name: "QuantizationModifier" };

function moduleWork(task: QuantizerTask): number {
  const { rows, columns } = task;
  const refinement = refinementOf(task);
  const targets = driftOf(task) > 0 ? driftWork(rows, columns) : 0;
  return rows * columns ** 2 + targets + (refinement ? refineWork(rows, columns, refinement) : 0);
}

/** Scratch that factoring a Hessian of order n takes beside it, and that stays while its modules are quantized. */
function factorBytes(n: number): number {
  return choleskyScratchBytes(n) + bufferBytes(n * 4) + SECOND_STATUS_BYTES;
}

/** True of modules whose tiles take the same: a layer of experts has hundreds. */
function isAlike(one: QuantizerTask, other: QuantizerTask): boolean {
  return (
    one.rows === other.rows &&
    one.columns === other.columns &&
    one.dtype === other.dtype &&
    one.weights === other.weights &&
    one.modifier === other.modifier
  );
}

function phase(
  tasks: readonly QuantizerTask[],
  pass: readonly Capture[],
  { freeBytes, maxBufferBytes }: QuantizerLimits,
): QuantizePhase | null {
  const tileRows = new Map<string, number>();
  const taskOf = new Map(tasks.map((task) => [task.module, task]));
  const found: { readonly task: QuantizerTask; readonly rows: number }[] = [];
  let bytes = 0;
  for (const capture of pass) {
    const fixed = factorBytes(capture.columns);
    bytes = Math.max(bytes, fixed);
    for (const task of capture.modules.flatMap((module) => taskOf.get(module) ?? [])) {
      const known = found.find((other) => isAlike(other.task, task));
      if (known) {
        tileRows.set(task.module, known.rows);
        continue;
      }
      const room = Math.min(freeBytes - fixed, MAX_TILE_BYTES);
      const rows = gptqTileRows(task, room, maxBufferBytes);
      const needed = fixed + gptqTileBytes(task, rows);
      if (needed > freeBytes) return null;
      found.push({ task, rows });
      tileRows.set(task.module, rows);
      bytes = Math.max(bytes, needed);
    }
  }
  return { bytes, tileRows };
}

function overlapBytes(
  tasks: readonly QuantizerTask[],
  pass: readonly Capture[],
  { tileRows }: Pick<QuantizePhase, "tileRows">,
): number {
  const factoring = pass.map((capture) => factorBytes(capture.columns));
  const own = new Set(pass.flatMap(({ modules }) => modules));
  const tiled = tasks.flatMap((task) => {
    const rows = own.has(task.module) ? tileRows.get(task.module) : undefined;
    return rows === undefined ? [] : [{ task, tileRows: rows }];
  });
  return Math.max(0, ...factoring) + gptqWorkspaceBytes(tiled, 2);
}
