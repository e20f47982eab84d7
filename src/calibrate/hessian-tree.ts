// Hessians whose samples several jobs share: one sum for each node of the tree of chunks, instead of one for all samples.

import { invariant } from "../errors.ts";
import { add } from "../gpu/elements/add.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { allocatePanels, panelBytes } from "../gpu/panels.ts";
import { symmetricRankKUpdate } from "../gpu/triangular/symmetric-rank-k-update.ts";
import { addHeldPiece, type TrianglePiece } from "../gpu/triangular/triangle-pieces.ts";
import { layOutTriangle, type TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";
import type { SequenceBatch } from "./batches.ts";
import { appendNode, type ChunkRange, givenSums, ownFirst, type PlacedSum } from "./chunk-tree.ts";
import type { Hessians } from "./hessians.ts";
import { createUnitCutter } from "./unit-rows.ts";

export interface HessianSum extends ChunkRange {
  readonly matrix: TriangularMatrix;
}

/** How pieces of sums go between jobs. */
export interface SumExchange {
  /** This job. */
  readonly place: number;
  /** Adds a piece of a sum of another job to one of this job. */
  add(sum: PlacedSum, piece: TrianglePiece, to: TriangularMatrix): Promise<void>;
  /** Begins to give a piece of a sum away; the sum stays as it is until the capture is released. */
  give(sum: HessianSum, piece: TrianglePiece): void;
}

export interface HessianTree extends Hessians {
  /** Ends the last chunk, once the last batch has run. */
  finish(): Promise<void>;
  /**
   * Of a finished tree: does this job's part of what makes a piece of the one Hessian of a capture, which is there then where its sum
   * has its place, and nowhere else.
   */
  join(capture: Capture, root: PlacedSum, piece: TrianglePiece, among: SumExchange): Promise<void>;
  /** Once all pieces of a capture are joined: what is left is its Hessian, in the job where it has its place. */
  joined(capture: Capture, root: PlacedSum, place: number): void;
  /** Counts tokens that a capture's modules saw in other jobs. */
  addTokens(capture: Capture, tokens: number): void;
}

export interface TreeOptions {
  /** Calibration sequences of all jobs. */
  readonly samples: number;
  readonly maxPanelBytes: number;
  /** The chunk that a batch belongs to; batches come in the order of chunks. */
  chunkOf(batch: SequenceBatch): number;
}

interface Input {
  readonly capture: Capture;
  nodes: HessianSum[];
  /** The chunk under way. */
  leaf: HessianSum | null;
  /** Matrices that were added to others. */
  readonly free: TriangularMatrix[];
  tokens: number;
}

/** Opens Hessians that are zero; up to one for each level of the tree is allocated as chunks come. */
export function openHessianTree(gpu: Gpu, captures: readonly Capture[], options: TreeOptions): HessianTree {
  const inputs = captures.map((capture): Input => ({ capture, nodes: [], leaf: null, free: [], tokens: 0 }));
  const inputOf = (capture: Capture) => {
    const input = inputs.find((candidate) => candidate.capture === capture);
    invariant(input, "the capture belongs to this pass");
    return input;
  };
  const byModule = new Map(
    inputs.flatMap((input) => input.capture.modules.map((module) => [module, input] as const)),
  );
  const chunks = createChunks(gpu, inputs, options);
  const cutter = createUnitCutter();
  return {
    begin(batch) {
      chunks.begin(options.chunkOf(batch));
      cutter.begin(batch);
    },
    async onInput(modules, input) {
      await chunks.catchUp();
      const own = byModule.get(modules[0] ?? "");
      if (!own?.leaf || input.rows === 0) return;
      own.tokens += input.rows;
      const runs = cutter.cut(own.capture, input);
      await symmetricRankKUpdate(gpu, own.leaf.matrix, input, { alpha: 2 / options.samples, runs });
    },
    finish: async () => await chunks.finish(),
    join: async (capture, root, piece, among) =>
      await joinPiece(gpu, inputOf(capture), root, { piece, among }),
    joined: (capture, root, place) => keepRoot(inputOf(capture), root, place),
    addTokens: (capture, tokens) => void (inputOf(capture).tokens += tokens),
    hessian(capture) {
      const [sum, ...more] = inputOf(capture).nodes;
      invariant(sum && more.length === 0, "the sums of all jobs are joined");
      return sum.matrix;
    },
    tokens: (capture) => inputOf(capture).tokens,
    async clear(capture) {
      for (const { matrix } of inputOf(capture).nodes) await clearMatrix(gpu, matrix);
    },
    release: (capture) => releaseInput(inputOf(capture)),
    [Symbol.dispose]: () => inputs.forEach(releaseInput),
  };
}

/** Chunks come one after the other; each begins with zeros, which are made when its first rows come. */
function createChunks(gpu: Gpu, inputs: readonly Input[], { maxPanelBytes }: TreeOptions) {
  const begun: number[] = [];
  let last: number | null = null;
  const end = async () => {
    for (const input of inputs) {
      if (input.leaf) await appendNode(input.nodes, input.leaf, joiner(gpu, input));
      input.leaf = null;
    }
  };
  const catchUp = async () => {
    for (const first of begun.splice(0)) {
      await end();
      for (const input of inputs)
        input.leaf = { first, end: first + 1, matrix: await zeros(gpu, input, maxPanelBytes) };
    }
  };
  return {
    begin(chunk: number) {
      if (chunk !== last) begun.push(chunk);
      last = chunk;
    },
    catchUp,
    async finish() {
      await catchUp();
      await end();
    },
  };
}

async function joinPiece(
  gpu: Gpu,
  input: Input,
  root: PlacedSum,
  { piece, among }: { readonly piece: TrianglePiece; readonly among: SumExchange },
): Promise<void> {
  const { place } = among;
  const make = async (sum: PlacedSum): Promise<HessianSum> => {
    const { first, end, halves } = sum;
    if (!halves) return leafOf(input, sum);
    const [own, other] = ownFirst(halves, place);
    const { matrix } = await make(own);
    // Which of two numbers is added to the other changes nothing.
    if (other.place === place) await addHeld(gpu, (await make(other)).matrix, matrix, piece);
    else await among.add(other, piece, matrix);
    return { first, end, matrix };
  };
  for (const sum of givenSums(root, place)) among.give(await make(sum), piece);
  if (root.place === place) await make(root);
}

function leafOf({ nodes }: Input, { first }: PlacedSum): HessianSum {
  const own = nodes.find((sum) => sum.first === first);
  invariant(own, "a job has the sums over its own samples");
  return own;
}

async function addHeld(
  gpu: Gpu,
  from: TriangularMatrix,
  to: TriangularMatrix,
  piece: TrianglePiece,
): Promise<void> {
  const [values, sums] = [from.buffers[piece.panel], to.buffers[piece.panel]];
  invariant(values && sums, "Hessians of one input are laid out alike");
  await addHeldPiece(gpu, piece, values, sums);
}

function keepRoot(input: Input, root: PlacedSum, place: number): void {
  let held = root;
  while (held.halves) [held] = ownFirst(held.halves, place);
  const { matrix } = leafOf(input, held);
  const done = [...input.nodes.map((sum) => sum.matrix), ...input.free.splice(0)];
  input.nodes = [{ first: root.first, end: root.end, matrix }];
  for (const each of done) if (each !== matrix) each[Symbol.dispose]();
}

function joiner(gpu: Gpu, input: Input) {
  return async (left: HessianSum, right: HessianSum): Promise<HessianSum> => {
    for (const [index, panel] of left.matrix.layout.panels.entries()) {
      const [sums, values] = [left.matrix.buffers[index], right.matrix.buffers[index]];
      invariant(sums && values, "Hessians of one input are laid out alike");
      await add(gpu, values, sums, { first: 0, end: panelBytes(panel) / 4 });
    }
    input.free.push(right.matrix);
    return { first: left.first, end: right.end, matrix: left.matrix };
  };
}

async function zeros(gpu: Gpu, { capture, free }: Input, maxPanelBytes: number): Promise<TriangularMatrix> {
  const used = free.at(-1);
  if (used) {
    await clearMatrix(gpu, used);
    free.pop();
    return used;
  }
  const label = `Hessian of ${capture.modules[0]}'s input`;
  return await allocatePanels(gpu.memory, label, layOutTriangle(capture.columns, maxPanelBytes));
}

async function clearMatrix(gpu: Gpu, { buffers }: TriangularMatrix): Promise<void> {
  for (const buffer of buffers) await gpu.queue.clear(buffer);
}

function releaseInput(input: Input): void {
  const sums = [...input.nodes, ...(input.leaf ? [input.leaf] : [])];
  // While one sum is added to another, a matrix may be in both.
  for (const matrix of new Set([...sums.map((sum) => sum.matrix), ...input.free])) matrix[Symbol.dispose]();
  input.nodes = [];
  input.leaf = null;
  input.free.length = 0;
}
