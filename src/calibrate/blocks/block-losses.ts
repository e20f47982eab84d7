// Runs a block of a layer (its mixer, its MLP, its experts) again and again with other weights, on the input that the samples bring
// to it, and sums the squared error of what it gives out, before any norm: of a mixer and an MLP, what their last Linear does; of
// experts the sum of those that each token is routed to, and of the shared one.

import { type Lifetime, openTogether } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { rowSquares } from "../../gpu/elements/row-squares.ts";
import type { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import type { LayerDescription } from "../../model/decoder-description.ts";
import type { MappingBlock } from "../../model/mappings.ts";
import { factsOf } from "../../model/mixers/facts-of.ts";
import type { ExpertOrder } from "../forward/experts/expert-order.ts";
import { addExperts } from "../forward/experts-block.ts";
import { applyLinear, type ForwardPass, type LinearUse } from "../forward/forward-pass.ts";
import type { Activations, ForwardHooks, LayerWeights } from "../forward/layer-weights.ts";
import { innerValues } from "../forward/mlp-block.ts";
import { forwardOf } from "../forward/mixers/forward-of.ts";

/** A block whose weights vary. */
export interface VariedBlock {
  readonly kind: MappingBlock;
  /** Modules that read its input. */
  readonly readers: readonly string[];
  readonly variants: number;
  /** Variants that differ in the Linears alone that come last, so that the rest is run once for them; each by itself if absent. */
  readonly together?: readonly (readonly number[])[];
  /** True if a variant may send tokens to other experts; else they are routed once. */
  readonly reroutes: boolean;
  /** The layer's weights with those of a variant. */
  weights(own: LayerWeights, variant: number): LayerWeights;
}

/** How many tokens come to a block at once at most. */
export interface BlockSize {
  readonly tokens: number;
  /** To an MLP, or to experts. */
  readonly mlpTokens: number;
  readonly hiddenSize: number;
}

export interface BlockLosses extends Disposable {
  /** Hooks of a pass that runs the blocks whenever their input comes by. */
  hooksIn(pass: ForwardPass): ForwardHooks;
  /** Of each block and variant, the squared error of the outputs as a share of them. */
  read(readbacks: ReadbackRing): Promise<Float64Array[]>;
}

function rowsOf({ kind }: Pick<VariedBlock, "kind">, { tokens, mlpTokens }: BlockSize): number {
  return kind === "mixer" ? tokens : Math.min(tokens, mlpTokens);
}

/**
 * Tokens' squares are added up in so many float32 sums, one token after the other: the sum of a token is told by how many came
 * before it, so that sums do not depend on how tokens are cut into inputs.
 */
const SUMS = 1024;

/** Sums of the original's outputs and of each variant's errors. */
function sumsOf({ variants }: Pick<VariedBlock, "variants">): number {
  return (variants + 1) * SUMS;
}

type Sizes = readonly Pick<VariedBlock, "kind" | "variants" | "together">[];

function outputBytes(blocks: Sizes, size: BlockSize): number {
  return Math.max(...blocks.map((block) => rowsOf(block, size))) * size.hiddenSize * 4;
}

function sumBytes(blocks: Sizes): number {
  return blocks.reduce((sum, block) => sum + sumsOf(block) * 4, 0);
}

/** Errors that are there at once. */
function errorsOf(blocks: Sizes): number {
  return Math.max(1, ...blocks.flatMap(({ together = [] }) => together.map((variants) => variants.length)));
}

/** GPU bytes that running these blocks takes; the planner's figure. */
export function blockLossBytes(blocks: Sizes, size: BlockSize): number {
  const outputs = 1 + errorsOf(blocks);
  return outputs * bufferBytes(outputBytes(blocks, size)) + bufferBytes(sumBytes(blocks));
}

interface OpenBlocks {
  readonly gpu: Gpu;
  readonly size: BlockSize;
  /** (tokens, hidden) of what a block gives out, turned around, and of the errors of variants that are run together. */
  readonly original: LedgerBuffer;
  readonly errors: readonly LedgerBuffer[];
  readonly sums: LedgerBuffer;
}

interface PlacedBlock {
  readonly block: VariedBlock;
  /** Of its sums: the original's, then each variant's. */
  readonly first: number;
  readonly end: BlockEnd;
  /** Tokens that came so far. */
  seen: number;
}

export async function openBlockLosses(
  gpu: Gpu,
  layer: LayerDescription,
  blocks: readonly VariedBlock[],
  size: BlockSize,
): Promise<BlockLosses> {
  const buffers = await openTogether(async (parts) => await allocateLosses(gpu, blocks, size, parts));
  const open = { gpu, size, ...buffers };
  let next = 0;
  const placed = blocks.map((block): PlacedBlock => {
    const first = next;
    next += sumsOf(block);
    return { block, first, end: endOf(layer, block), seen: 0 };
  });
  return {
    hooksIn(pass) {
      const { hooks: _, stopAtLastInput: __, wanted: ___, ...quiet } = pass;
      return {
        async onInput(modules, input) {
          for (const own of placed) {
            const reads = own.block.readers.some((reader) => modules.includes(reader));
            if (!reads) continue;
            await runVariants(open, own, quiet, input);
            own.seen += input.rows;
          }
        },
      };
    },
    async read(readbacks) {
      const all = new Float32Array((await readbacks.readBytes(buffers.sums)).buffer);
      return placed.map(({ block, first }) => sharesOf(all, first, block.variants));
    },
    [Symbol.dispose]: () => buffers[Symbol.dispose](),
  };
}

/** Buffers for what blocks give out and what is wrong of it; sums begin as zeros. */
async function allocateLosses(
  gpu: Gpu,
  blocks: readonly VariedBlock[],
  size: BlockSize,
  parts: Lifetime,
): Promise<Pick<OpenBlocks, "original" | "errors" | "sums">> {
  const error = { label: "error of a block's output", bytes: outputBytes(blocks, size) };
  const allocated = await gpu.memory.allocateAll([
    { label: "a block's output", bytes: outputBytes(blocks, size) },
    { label: "squared errors of blocks", bytes: sumBytes(blocks) },
    ...Array.from({ length: errorsOf(blocks) }, () => error),
  ]);
  const [original, sums, ...errors] = parts.useEach(allocated);
  await gpu.queue.clear(sums);
  return { original, errors, sums };
}

/** Runs a block with its own weights and with those of each variant, and adds up what it gives out and what differs. */
async function runVariants(
  { gpu, size, original, errors, sums }: OpenBlocks,
  { block, first, end, seen }: PlacedBlock,
  pass: ForwardPass,
  input: Activations,
): Promise<void> {
  const rows = rowsOf(block, size);
  invariant(input.rows <= rows, "the block was planned for so many tokens");
  const stride = size.hiddenSize;
  const output = { rows: input.rows, columns: stride, stride };
  const give = end(input);
  await give([{ pass, y: { ...output, buffer: original } }], { scale: -1, replaces: true });
  const add = async (buffer: LedgerBuffer, of: number) =>
    await addSquares(gpu, { ...output, buffer }, sums, { first: first + of * SUMS, seen });
  await add(original, 0);
  for (const variants of block.together ??
    Array.from({ length: block.variants }, (_, variant) => [variant])) {
    const ends = variants.map((variant, index) => {
      const buffer = errors[index];
      invariant(buffer, "there is room for the errors of all that are run together");
      const varied = { ...pass, weights: block.weights(pass.weights, variant) };
      return { variant, pass: varied, y: { ...output, buffer } };
    });
    for (const { y } of ends)
      await gpu.queue.copy({ of: original, offset: 0 }, { of: y.buffer, offset: 0 }, input.rows * stride * 4);
    await give(ends, { scale: 1 });
    for (const { variant, y } of ends) await add(y.buffer, variant + 1);
  }
}

/** Adds each token's squares to its sum, of those that begin at `first`; `seen` tokens came before. */
async function addSquares(
  gpu: Gpu,
  { buffer, ...shape }: Output,
  sums: LedgerBuffer,
  { first, seen }: { readonly first: number; readonly seen: number },
): Promise<void> {
  for (let row = 0; row < shape.rows;) {
    const place = (seen + row) % SUMS;
    const rows = Math.min(SUMS - place, shape.rows - row);
    await rowSquares(gpu, buffer, { ...shape, firstRow: row, rows }, sums, {
      first: first + place,
      adds: true,
    });
    row += rows;
  }
}

/** A pass with weights of its own, and where it goes: all at a time differ in the Linears alone that come last. */
interface VariedEnd {
  readonly pass: ForwardPass;
  readonly y: Output;
}

/** Of an input: has y be what the block gives out times the scale, or adds that to it. */
type BlockEnd = (input: Activations) => (ends: readonly VariedEnd[], as: LinearUse) => Promise<void>;

interface Output extends Activations {
  readonly buffer: LedgerBuffer;
}

function endOf({ mixers, feedForward }: LayerDescription, { kind, reroutes }: VariedBlock): BlockEnd {
  if (kind === "experts") {
    invariant(feedForward?.kind === "experts", "the layer has experts");
    return (input) => {
      let order: ExpertOrder | null = null;
      return async (ends, { scale, replaces }) => {
        const [{ pass, y }, ...rest] = firstOf(ends);
        if (replaces) await pass.gpu.queue.clear(y.buffer, 0, y.rows * y.stride * 4);
        const others = rest.map((end) => ({ weights: end.pass.weights, sum: end.y }));
        const went = await addExperts(pass, feedForward, input, y, { scale, order, others });
        order = reroutes ? null : went;
      };
    };
  }
  if (kind === "mlp") {
    invariant(feedForward?.kind === "mlp", "the layer has an MLP");
    return (input) => async (ends, as) => {
      const inner = await innerValues(firstOf(ends)[0].pass, feedForward, input);
      for (const { pass, y } of ends) await applyLinear(pass, feedForward.down, inner, y, as);
    };
  }
  const [mixer] = mixers;
  invariant(mixer && mixers.length === 1, "the layer has one mixer");
  return (input) => async (ends, as) => {
    const mixed = await forwardOf(mixer).mix(firstOf(ends)[0].pass, input, null);
    for (const { pass, y } of ends) await applyLinear(pass, factsOf(mixer).output, mixed, y, as);
  };
}

function firstOf([first, ...rest]: readonly VariedEnd[]): [VariedEnd, ...VariedEnd[]] {
  invariant(first, "something is run");
  return [first, ...rest];
}

/** Sums in float64 of what tokens have lost, over that of the outputs. */
function sharesOf(all: Float32Array, first: number, variants: number): Float64Array {
  const sum = (start: number) => {
    let total = 0;
    for (let at = start; at < start + SUMS; at++) total += all[at] ?? 0;
    return total;
  };
  const output = sum(first);
  return Float64Array.from({ length: variants }, (_, variant) => {
    const error = sum(first + (variant + 1) * SUMS);
    return error === 0 ? 0 : error / output;
  });
}
