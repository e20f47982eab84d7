// The Hessians of one pass: one for each input that modules share, grown while the samples run through the layer.

import { allEnded } from "../all-ended.ts";
import { madeOf } from "../disposal.ts";
import { invariant } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Matrix } from "../gpu/matmul/matmul.ts";
import { allocatePanels } from "../gpu/panels.ts";
import { symmetricRankKUpdate } from "../gpu/triangular/symmetric-rank-k-update.ts";
import { layOutTriangle, type TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";
import type { SequenceBatch } from "./batches.ts";
import { createUnitCutter, type CutInput } from "./unit-rows.ts";

export interface Hessians extends Disposable {
  /** From now on, rows are those of this batch. */
  begin(batch: SequenceBatch): void;
  /** Adds 2 / samples · XᵀX to the Hessian of the modules' input, unit by unit, if it belongs to this pass. */
  onInput(modules: readonly string[], input: Matrix & CutInput): Promise<void>;
  hessian(capture: Capture): TriangularMatrix;
  /** Tokens that each capture's modules saw. */
  tokens(capture: Capture): number;
  /** Makes a Hessian zero again. */
  clear(capture: Capture): Promise<void>;
  /** Gives a Hessian's memory back as soon as its modules are quantized. */
  release(capture: Capture): void;
}

/** Copies of some of a pass's Hessians, for a quantizer that is not the last to use them. */
export async function copyHessians(
  gpu: Gpu,
  inputs: Pick<Hessians, "hessian" | "tokens">,
  captures: readonly Capture[],
): Promise<Omit<Hessians, "begin" | "onInput">> {
  const matrices = new Map<Capture, TriangularMatrix>();
  return await madeOf(async (made) => {
    const copies = made.use(heldHessians(gpu, matrices));
    for (const capture of captures) {
      const from = inputs.hessian(capture);
      const label = `copy of the Hessian of ${capture.modules[0]}'s input`;
      const copy = await allocatePanels(gpu.memory, label, from.layout);
      matrices.set(capture, copy);
      await copyMatrix(gpu, from, copy);
    }
    await gpu.queue.flush();
    return { ...copies, tokens: (capture) => inputs.tokens(capture) };
  });
}

async function copyMatrix(gpu: Gpu, from: TriangularMatrix, copy: TriangularMatrix): Promise<void> {
  for (const [panel, buffer] of from.buffers.entries()) {
    const to = copy.buffers[panel];
    invariant(to, "a buffer for each panel");
    await gpu.queue.copy({ of: buffer, offset: 0 }, { of: to, offset: 0 }, buffer.bytes);
  }
}

/** GPU bytes of the Hessians of these captures. */
export function hessianBytes(captures: readonly Capture[], maxPanelBytes: number): number {
  return captures.reduce((sum, { columns }) => sum + layOutTriangle(columns, maxPanelBytes).bytes, 0);
}

/** Allocates zero Hessians for the captures of a pass; `samples` is the number of calibration sequences. */
export async function openHessians(
  gpu: Gpu,
  captures: readonly Capture[],
  samples: number,
  maxPanelBytes: number,
): Promise<Hessians> {
  const matrices = new Map<Capture, TriangularMatrix>();
  const seen = new Map<Capture, number>();
  const captureOf = new Map(
    captures.flatMap((capture) => capture.modules.map((module) => [module, capture])),
  );
  const allocate = async (capture: Capture) => {
    const label = `Hessian of ${capture.modules[0]}'s input`;
    const layout = layOutTriangle(capture.columns, maxPanelBytes);
    matrices.set(capture, await allocatePanels(gpu.memory, label, layout));
  };
  const held = await madeOf(async (made) => {
    const hessians = made.use(heldHessians(gpu, matrices));
    // Asked for one by one, each would be waited for.
    await allEnded(captures.map(allocate));
    return hessians;
  });
  const cutter = createUnitCutter();
  return {
    begin: (batch) => cutter.begin(batch),
    async onInput(modules, input) {
      const capture = captureOf.get(modules[0] ?? "");
      const matrix = capture && matrices.get(capture);
      if (!capture || !matrix || input.rows === 0) return;
      seen.set(capture, (seen.get(capture) ?? 0) + input.rows);
      const runs = cutter.cut(capture, input);
      await symmetricRankKUpdate(gpu, matrix, input, { alpha: 2 / samples, runs });
    },
    tokens: (capture) => seen.get(capture) ?? 0,
    ...held,
  };
}

function heldHessians(
  gpu: Gpu,
  matrices: Map<Capture, TriangularMatrix>,
): Pick<Hessians, "hessian" | "clear" | "release"> & Disposable {
  return {
    hessian(capture) {
      const matrix = matrices.get(capture);
      invariant(matrix, "the capture belongs to this pass");
      return matrix;
    },
    async clear(capture) {
      for (const buffer of matrices.get(capture)?.buffers ?? []) await gpu.queue.clear(buffer);
    },
    release(capture) {
      matrices.get(capture)?.[Symbol.dispose]();
      matrices.delete(capture);
    },
    [Symbol.dispose]() {
      for (const matrix of matrices.values()) matrix[Symbol.dispose]();
      matrices.clear();
    },
  };
}
