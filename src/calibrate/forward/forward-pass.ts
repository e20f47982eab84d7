// What every step of a layer needs, and the three steps that all blocks are made of: norm an input, apply a Linear, join
// the residual.

import type { Gpu } from "../../gpu/gpu.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import { forwardProduct } from "../../gpu/matmul/forward-product.ts";
import type { Matrix } from "../../gpu/matmul/matmul.ts";
import type { LayerDescription, Linear, Norm } from "../../model/decoder-description.ts";
import type { ExpertCalibration } from "../../model/layer-linears.ts";
import { addBias } from "./add-bias/add-bias.ts";
import type { Activations, ForwardHooks, LayerWeights } from "./layer-weights.ts";
import { normalize } from "./norm/normalize.ts";
import type { TokenBatch } from "./token-batch.ts";
import type { Workspace } from "./workspace.ts";

export interface ForwardPass {
  readonly gpu: Gpu;
  readonly weights: LayerWeights;
  readonly workspace: Workspace;
  readonly batch: TokenBatch;
  readonly hooks?: ForwardHooks;
  /**
   * Leaves out what only the layer's output needs: for calibration, whose output is thrown away. The hidden states are
   * of no use afterwards.
   */
  readonly stopAtLastInput?: boolean;
  /** With `stopAtLastInput`: the modules whose inputs are wanted; what none of them needs is left out. Default all. */
  readonly wanted?: ReadonlySet<string>;
  /** What experts compute: all tokens, so that hooks see them, or (default) only those that are routed to them. */
  readonly experts?: ExpertCalibration;
}

/** True if the pass has still to come to the input of one of these. */
export function isWanted({ stopAtLastInput, wanted }: ForwardPass, linears: readonly Linear[]): boolean {
  return !stopAtLastInput || !wanted || linears.some(({ module }) => wanted.has(module));
}

/** A layer's block of work on rows of the hidden states. */
export interface HiddenRows {
  readonly hidden: BufferPart;
  readonly hiddenSize: number;
  readonly firstRow: number;
  readonly rows: number;
}

export function hiddenMatrix({ hidden, hiddenSize, firstRow, rows }: HiddenRows): Activations {
  return { buffer: hidden, rows, columns: hiddenSize, stride: hiddenSize, offset: firstRow * hiddenSize };
}

/** The same rows of the workspace's normed states. */
export function normedMatrix({ workspace }: ForwardPass, states: HiddenRows): Activations {
  return { ...hiddenMatrix(states), buffer: workspace.normed };
}

/** The hidden states, normed into the workspace, or as they are where there is no norm. */
export async function blockInput(
  pass: ForwardPass,
  norm: Norm | null,
  states: HiddenRows,
): Promise<Activations> {
  const x = hiddenMatrix(states);
  if (!norm) return x;
  const y = normedMatrix(pass, states);
  await applyNorm(pass, norm, x, y);
  return y;
}

/** y = norm(x), or y += scale · norm(x); a null x norms y in place. */
export async function applyNorm(
  { gpu, weights }: Pick<ForwardPass, "gpu" | "weights">,
  norm: Norm,
  x: Matrix | null,
  y: Activations,
  accumulate?: { readonly scale: number },
): Promise<void> {
  const weight = await weights.vector(norm.weight);
  const bias = norm.bias === null ? null : await weights.vector(norm.bias);
  const { rows, columns } = y;
  await normalize(gpu, { norm, weight, bias, rows, columns, x, y, ...(accumulate ? { accumulate } : {}) });
}

/** y = x Wᵀ + b, or y += scale · (x Wᵀ + b), one row tile of W after the other. */
export async function applyLinear(
  { gpu, weights }: Pick<ForwardPass, "gpu" | "weights">,
  linear: Linear,
  x: Activations,
  y: Matrix,
  accumulate?: { readonly scale: number },
): Promise<void> {
  const alpha = accumulate?.scale ?? 1;
  const offset = y.offset ?? 0;
  for await (const tile of weights.rowTiles(linear.module)) {
    await forwardProduct(gpu, {
      m: x.rows,
      n: tile.rows,
      k: linear.columns,
      a: x,
      b: { buffer: tile.weight, stride: tile.stride },
      bDtype: tile.dtype,
      c: { ...y, offset: offset + tile.firstRow },
      alpha,
      accumulate: accumulate !== undefined,
    });
  }
  if (linear.bias === null) return;
  const target = { ...y, rows: x.rows, columns: linear.rows };
  await addBias(gpu, target, await weights.vector(linear.bias), alpha);
}

/** hidden += multiplier · norm(x Wᵀ + b): how a block ends. Overwrites the rows' normed states where there is a norm. */
export async function joinResidual(
  pass: ForwardPass,
  { residualMultiplier: scale }: LayerDescription,
  { linear, norm }: { readonly linear: Linear; readonly norm: Norm | null },
  x: Activations,
  states: HiddenRows,
): Promise<void> {
  const hidden = hiddenMatrix(states);
  if (!norm) {
    await applyLinear(pass, linear, x, hidden, { scale });
    return;
  }
  const output = normedMatrix(pass, states);
  await applyLinear(pass, linear, x, output);
  await applyNorm(pass, norm, output, hidden, { scale });
}
