// P H Pᵀ in place. Every permutation is the product of two involutions, and an involution moves elements in disjoint
// pairs, so no second matrix is needed: for n = 28,672 that saves 1.7 GB.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel } from "../kernel.ts";
import { struct } from "../struct.ts";
import code from "./permute-pair.wgsl?raw";
import type { TriangularMatrix } from "./triangular-matrix.ts";

const WORKGROUP = 64;

export const permutePairKernel = kernel({
  name: "triangular.permute-pair",
  code: [code],
  params: struct({
    first_row: "u32",
    rows: "u32",
    stride: "u32",
    other_first_row: "u32",
    other_rows: "u32",
    other_stride: "u32",
    first_local_row: "u32",
    end_local_row: "u32",
  }),
  bindings: { partner: "read", panel: "read_write", other: "read_write" },
  constants: ["SAME"],
});

/**
 * Two involutions f, then s, whose effect one after the other is the permutation: new[i] = old[order[i]], where each
 * step is new[i] = old[involution[i]]. On a cycle of order, both are reflections.
 */
export function involutionsOf(order: Uint32Array): [Uint32Array<ArrayBuffer>, Uint32Array<ArrayBuffer>] {
  const first = Uint32Array.from(order, (_, index) => index);
  const second = first.slice();
  const seen = new Uint8Array(order.length);
  for (let start = 0; start < order.length; start++) {
    const cycle: number[] = [];
    for (let at = start; !seen[at]; at = order[at] ?? start) {
      seen[at] = 1;
      cycle.push(at);
    }
    const length = cycle.length;
    cycle.forEach((element, place) => {
      // order moves place to place + 1: first reflects place to −place, second reflects place to −1 − place
      first[element] = cycle[(length - place) % length] ?? element;
      second[element] = cycle[(2 * length - 1 - place) % length] ?? element;
    });
  }
  return [first, second];
}

export interface PermutationScratch {
  /** n u32. */
  readonly partner: BufferPart;
  /** Stands for a second panel where there is none: any buffer, of which nothing is read or written. */
  readonly unused: BufferPart;
}

/**
 * Reorders rows and columns of a symmetric matrix: new[i][j] = old[order[i]][order[j]].
 * `upload` puts host bytes into `partner`, in order with the queue.
 */
export async function permuteSymmetric(
  gpu: Gpu,
  matrix: TriangularMatrix,
  order: Uint32Array,
  scratch: PermutationScratch,
  upload: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  for (const involution of involutionsOf(order)) {
    await upload(new Uint8Array(involution.buffer));
    for (let index = 0; index < matrix.buffers.length; index++) {
      for (let other = index; other < matrix.buffers.length; other++) {
        await tradeBetween(gpu, matrix, scratch, index, other);
      }
    }
  }
}

async function tradeBetween(
  gpu: Gpu,
  matrix: TriangularMatrix,
  scratch: PermutationScratch,
  index: number,
  otherIndex: number,
): Promise<void> {
  const [panel, other] = [matrix.layout.panels[index], matrix.layout.panels[otherIndex]];
  const [buffer, otherBuffer] = [matrix.buffers[index], matrix.buffers[otherIndex]];
  invariant(panel && other && buffer && otherBuffer, "panels exist");
  const same = index === otherIndex;
  const columns = panel.firstRow + panel.rows;
  for (const { first, end } of gpu.queue.split(permutePairKernel, panel.rows, columns)) {
    await gpu.queue.run(permutePairKernel, {
      params: {
        first_row: panel.firstRow,
        rows: panel.rows,
        stride: panel.stride,
        other_first_row: other.firstRow,
        other_rows: other.rows,
        other_stride: other.stride,
        first_local_row: first,
        end_local_row: end,
      },
      buffers: { partner: scratch.partner, panel: buffer, other: same ? scratch.unused : otherBuffer },
      constants: { SAME: Number(same) },
      workgroups: [Math.ceil(columns / WORKGROUP), end - first],
      work: (end - first) * columns,
    });
  }
}
