// The Hessians of one pass: one for each input that modules share, grown while the samples run through the layer.

import { invariant } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Matrix } from "../gpu/matmul/matmul.ts";
import { allocatePanels } from "../gpu/panels.ts";
import { symmetricRankKUpdate } from "../gpu/triangular/symmetric-rank-k-update.ts";
import { layOutTriangle, type TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";

export interface Hessians extends Disposable {
  /** Adds 2 / samples · XᵀX to the Hessian of the modules' input, if it belongs to this pass. */
  onInput(modules: readonly string[], input: Matrix & { readonly rows: number }): Promise<void>;
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
): Promise<Omit<Hessians, "onInput">> {
  const matrices = new Map<Capture, TriangularMatrix>();
  for (const capture of captures) {
    const { layout, buffers } = inputs.hessian(capture);
    const label = `copy of the Hessian of ${capture.modules[0]}'s input`;
    const copy = await allocatePanels(gpu.memory, label, layout);
    matrices.set(capture, copy);
    for (const [panel, buffer] of buffers.entries()) {
      const to = copy.buffers[panel];
      invariant(to, "a buffer for each panel");
      await gpu.queue.copy({ of: buffer, offset: 0 }, { of: to, offset: 0 }, buffer.bytes);
    }
  }
  await gpu.queue.flush();
  return { ...heldHessians(gpu, matrices), tokens: (capture) => inputs.tokens(capture) };
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
  // Asked for one by one, each would be waited for.
  const allocated = captures.map(async (capture) => {
    const label = `Hessian of ${capture.modules[0]}'s input`;
    return await allocatePanels(gpu.memory, label, layOutTriangle(capture.columns, maxPanelBytes));
  });
  for (const [index, matrix] of (await Promise.all(allocated)).entries()) {
    const capture = captures[index];
    if (capture) matrices.set(capture, matrix);
  }
  return {
    async onInput(modules, input) {
      const capture = captureOf.get(modules[0] ?? "");
      const matrix = capture && matrices.get(capture);
      if (!capture || !matrix || input.rows === 0) return;
      seen.set(capture, (seen.get(capture) ?? 0) + input.rows);
      await symmetricRankKUpdate(gpu, matrix, input, input.rows, 2 / samples);
    },
    tokens: (capture) => seen.get(capture) ?? 0,
    ...heldHessians(gpu, matrices),
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
