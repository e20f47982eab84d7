// What every step of a layer needs, and the three steps that all blocks are made of: norm an input, apply a Linear, join
// the residual.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import { forwardProduct, forwardProducts, productInParts } from "../../gpu/matmul/forward-product.ts";
import type { Matrix } from "../../gpu/matmul/matmul.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import type { ExpertCalibration } from "../../model/layer-linears.ts";
import { addBias } from "./add-bias/add-bias.ts";
import type { Activations, ForwardHooks, GpuLinear, LayerWeights } from "./layer-weights.ts";
import { normalize } from "./norm/normalize.ts";
import type { TokenBatch } from "./token-batch.ts";
import type { Workspace } from "./workspace.ts";
import type { Linear, Norm } from "../../model/weight-description.ts";

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
  /** Rows of the batch at which units of samples end (`SequenceBatch.units`): an MLP is not cut within one where it has room for it. */
  readonly units?: readonly number[];
  /** Rows of what a layer with a token block is given for the batch's tokens (`TokenBatch.tokenRows`). */
  readonly tokenTable?: BufferPart;
}

/** True if the pass has still to come to the input of one of these. */
export function isWanted({ stopAtLastInput, wanted }: ForwardPass, linears: readonly Linear[]): boolean {
  return !stopAtLastInput || !wanted || linears.some(({ module }) => wanted.has(module));
}

/** A layer's block of work on rows of the hidden states. */
export interface HiddenRows {
  readonly hidden: BufferPart;
  readonly hiddenSize: number;
  /** From row to row: the hidden values, and what is carried behind them. */
  readonly stride: number;
  readonly firstRow: number;
  readonly rows: number;
}

export function hiddenMatrix({ hidden, hiddenSize, stride, firstRow, rows }: HiddenRows): Activations {
  return { buffer: hidden, rows, columns: hiddenSize, stride, offset: firstRow * stride };
}

/** What the rows carry, from a column on. */
export function carriedMatrix({ hidden, stride, firstRow, rows }: HiddenRows, column: number): Activations {
  return { buffer: hidden, rows, columns: stride - column, stride, offset: firstRow * stride + column };
}

/** The same rows of the workspace's normed states. */
export function normedMatrix({ workspace }: ForwardPass, states: HiddenRows): Activations {
  const { hiddenSize: columns, firstRow, rows } = states;
  return { buffer: workspace.normed, rows, columns, stride: columns, offset: firstRow * columns };
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

/**
 * y = norm(x), or y += scale · norm(x); a null x norms y in place. Norms without a weight need a batch, whose buffer is
 * bound instead.
 */
export async function applyNorm(
  { gpu, weights, batch }: Pick<ForwardPass, "gpu" | "weights"> & Partial<Pick<ForwardPass, "batch">>,
  norm: Norm,
  x: Matrix | null,
  y: Activations,
  accumulate?: { readonly scale: number },
): Promise<void> {
  const weight = norm.weight === null ? batch?.positions : await weights.vector(norm.weight);
  invariant(weight, "norms without a weight are computed within a batch");
  const bias = norm.bias === null ? null : await weights.vector(norm.bias);
  const { rows, columns } = y;
  await normalize(gpu, { norm, weight, bias, rows, columns, x, y, ...(accumulate ? { accumulate } : {}) });
}

/** What a Linear's outputs are joined by. */
export interface LinearUse {
  readonly scale: number;
  /** y is replaced; else the outputs are added to it. */
  readonly replaces?: boolean;
  /** Sums along the inputs are made in parts, which are added up then: a fraction of the rounding for a little more traffic. */
  readonly inParts?: boolean;
}

/** y = x Wᵀ + b, y += scale · (x Wᵀ + b) or y = scale · (x Wᵀ + b), one row tile of W after the other. */
export async function applyLinear(
  { gpu, weights }: Pick<ForwardPass, "gpu" | "weights">,
  linear: Linear,
  given: Activations,
  y: Matrix,
  as: LinearUse = { scale: 1, replaces: true },
): Promise<void> {
  const x = weights.input ? await weights.input(linear.module, given) : given;
  for await (const tile of weights.rowTiles(linear.module)) {
    const product = { ...productOf(linear, tile, x, y), alpha: as.scale, accumulate: !as.replaces };
    await (as.inParts ? productInParts : forwardProduct)(gpu, product);
  }
  await addLinearBias({ gpu, weights }, linear, { ...y, rows: x.rows }, as.scale);
}

/** x Wᵀ for some rows of W, in their columns of y. */
function productOf({ columns: k }: Linear, tile: GpuLinear, x: Activations, y: Matrix) {
  return {
    m: x.rows,
    n: tile.rows,
    k,
    a: x,
    b: { buffer: tile.weight, stride: tile.stride },
    bDtype: tile.dtype,
    c: { ...y, offset: (y.offset ?? 0) + tile.firstRow },
  };
}

async function addLinearBias(
  { gpu, weights }: Pick<ForwardPass, "gpu" | "weights">,
  { bias, biasPlace, rows: columns }: Linear,
  y: Omit<Activations, "columns">,
  scale: number,
): Promise<void> {
  if (bias !== null) await addBias(gpu, { ...y, columns }, await weights.vector(bias), scale, biasPlace);
}

/** A Linear, and where its outputs go. */
type PlacedLinear = readonly [Linear, Matrix];

/** y = x Wᵀ + b of two Linears that see the same input: at once where both lie on the GPU whole and are alike. */
export async function applyBoth(
  pass: Pick<ForwardPass, "gpu" | "weights">,
  both: readonly [PlacedLinear, PlacedLinear],
  x: Activations,
): Promise<void> {
  const { gpu, weights } = pass;
  const [[first, toFirst], [second, toSecond]] = both;
  // What they see may lie in one buffer, one after the other.
  const isSeenAlike = !weights.input;
  const one = isSeenAlike && weights.whole?.(first.module);
  const other = isSeenAlike && weights.whole?.(second.module);
  if (!one || !other) {
    for (const [linear, y] of both) await applyLinear(pass, linear, x, y);
    return;
  }
  await forwardProducts(gpu, [productOf(first, one, x, toFirst), productOf(second, other, x, toSecond)]);
  for (const [linear, y] of both) await addLinearBias(pass, linear, { ...y, rows: x.rows }, 1);
}

/** Rows of a Linear that go to a run of columns of their own. */
export interface LinearPiece {
  readonly firstRow: number;
  readonly rows: number;
  /** First of the columns, from y's offset. */
  readonly column: number;
  /** Factor of these outputs; default 1. */
  readonly scale?: number;
  /** As `LinearUse` has it. */
  readonly inParts?: boolean;
}

/** y = x Wᵀ + b with outputs in another order: each piece of W's rows goes to its columns of y. All are multiples of 4. */
export async function applyPieces(
  { gpu, weights }: Pick<ForwardPass, "gpu" | "weights">,
  linear: Linear,
  pieces: readonly LinearPiece[],
  given: Activations,
  y: Matrix,
): Promise<void> {
  const x = weights.input ? await weights.input(linear.module, given) : given;
  const offset = y.offset ?? 0;
  for await (const tile of weights.rowTiles(linear.module)) {
    for (const { firstRow, rows, column, scale: alpha = 1, inParts } of pieces) {
      const first = Math.max(firstRow, tile.firstRow);
      const end = Math.min(firstRow + rows, tile.firstRow + tile.rows);
      if (first >= end) continue;
      await (inParts ? productInParts : forwardProduct)(gpu, {
        m: x.rows,
        n: end - first,
        k: linear.columns,
        a: x,
        b: { buffer: tile.weight, stride: tile.stride, offset: (first - tile.firstRow) * tile.stride },
        bDtype: tile.dtype,
        c: { ...y, offset: offset + column + first - firstRow },
        alpha,
      });
    }
  }
  if (linear.bias === null) return;
  const bias = await weights.vector(linear.bias);
  for (const { firstRow, rows, column, scale = 1 } of pieces) {
    const target = { ...y, rows: x.rows, columns: rows, offset: offset + column };
    await addBias(gpu, target, bias, scale, { first: firstRow, step: 1 });
  }
}

/** A block's last Linear, with what comes after it. */
export interface BlockEnd {
  readonly linear: Linear;
  readonly norm: Norm | null;
  /** Factor of the Linear's output; default 1. */
  readonly factor?: number;
  /** As `LinearUse` has it. */
  readonly inParts?: boolean;
}

/** hidden += multiplier · norm(factor · (x Wᵀ + b)): how a block ends. Overwrites the rows' normed states where there is a norm. */
export async function joinResidual(
  pass: ForwardPass,
  { residualMultiplier }: LayerDescription,
  { linear, norm, factor = 1, inParts = false }: BlockEnd,
  x: Activations,
  states: HiddenRows,
): Promise<void> {
  const hidden = hiddenMatrix(states);
  if (!norm) {
    await applyLinear(pass, linear, x, hidden, { scale: residualMultiplier * factor, inParts });
    return;
  }
  const output = normedMatrix(pass, states);
  await applyLinear(pass, linear, x, output, { scale: factor, replaces: true, inParts });
  await applyNorm(pass, norm, output, hidden, { scale: residualMultiplier });
}
