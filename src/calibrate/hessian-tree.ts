// Hessians whose samples several jobs share: one sum for each node of the tree of chunks, instead of one for all samples.

import { invariant } from "../errors.ts";
import { add } from "../gpu/add.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { allocatePanels, panelBytes } from "../gpu/panels.ts";
import { symmetricRankKUpdate } from "../gpu/triangular/symmetric-rank-k-update.ts";
import { layOutTriangle, type TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";
import type { SequenceBatch } from "./batches.ts";
import { appendNode, type ChunkRange, givenSums, type PlacedSum } from "./chunk-tree.ts";
import type { Hessians } from "./hessians.ts";

export interface HessianSum extends ChunkRange {
  readonly matrix: TriangularMatrix;
}

/** How sums go between jobs. */
export interface SumExchange {
  /** This job. */
  readonly place: number;
  /** Puts a sum of another job into zeros. */
  load(sum: PlacedSum, to: TriangularMatrix): Promise<void>;
  /** Begins to give a sum away; it stays as it is until the capture is released. */
  give(sum: HessianSum): void;
}

export interface HessianTree extends Hessians {
  /** From now on, rows are those of this batch. */
  begin(batch: SequenceBatch): void;
  /** Ends the last chunk, once the last batch has run. */
  finish(): Promise<void>;
  /**
   * Of a finished tree: does this job's part of what makes the one Hessian of a capture, which is there then where its sum has its
   * place, and nowhere else.
   */
  join(capture: Capture, root: PlacedSum, among: SumExchange): Promise<void>;
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
  return {
    begin: (batch) => chunks.begin(options.chunkOf(batch)),
    async onInput(modules, input) {
      await chunks.catchUp();
      const own = byModule.get(modules[0] ?? "");
      if (!own?.leaf || input.rows === 0) return;
      own.tokens += input.rows;
      await symmetricRankKUpdate(gpu, own.leaf.matrix, input, input.rows, 2 / options.samples);
    },
    finish: async () => await chunks.finish(),
    async join(capture, root, among) {
      await joinInput(gpu, inputOf(capture), root, { among, ...options });
    },
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

async function joinInput(
  gpu: Gpu,
  input: Input,
  root: PlacedSum,
  { among, maxPanelBytes }: Pick<TreeOptions, "maxPanelBytes"> & { readonly among: SumExchange },
): Promise<void> {
  const { place } = among;
  const join = joiner(gpu, input);
  const take = async (placed: PlacedSum): Promise<HessianSum> => {
    const { first, end } = placed;
    const sum = { first, end, matrix: await zeros(gpu, input, maxPanelBytes) };
    // From now on the input owns it, whatever fails.
    input.nodes.push(sum);
    await among.load(placed, sum.matrix);
    return sum;
  };
  const own = [...input.nodes];
  const make = async ({ first, halves }: PlacedSum): Promise<HessianSum> => {
    const made = halves ? null : own.find((sum) => sum.first === first);
    if (made) return made;
    invariant(halves, "a job has the sums over its own samples");
    const [left, right] = halves;
    const begun = left.place === place ? await make(left) : await take(left);
    return await join(begun, right.place === place ? await make(right) : await take(right));
  };
  for (const sum of givenSums(root, place)) among.give(await make(sum));
  if (root.place !== place) return;
  input.nodes = [await make(root)];
  // A buffer must not be given back before the commands that use it are submitted.
  await gpu.queue.flush();
  for (const matrix of input.free.splice(0)) matrix[Symbol.dispose]();
}

function joiner(gpu: Gpu, input: Input) {
  return async (left: HessianSum, right: HessianSum): Promise<HessianSum> => {
    for (const [index, panel] of left.matrix.layout.panels.entries()) {
      const [sums, values] = [left.matrix.buffers[index], right.matrix.buffers[index]];
      invariant(sums && values, "Hessians of one input are laid out alike");
      await add(gpu, values, sums, panelBytes(panel) / 4);
    }
    input.free.push(right.matrix);
    return { first: left.first, end: right.end, matrix: left.matrix };
  };
}

async function zeros(gpu: Gpu, { capture, free }: Input, maxPanelBytes: number): Promise<TriangularMatrix> {
  const used = free.pop();
  if (used) {
    await clearMatrix(gpu, used);
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
  // While sums are joined, a matrix may be in both.
  for (const matrix of new Set([...sums.map((sum) => sum.matrix), ...input.free])) matrix[Symbol.dispose]();
  input.nodes = [];
  input.leaf = null;
  input.free.length = 0;
}
