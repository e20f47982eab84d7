// Hessians whose samples several jobs share: one sum for each node of the tree of chunks, instead of one for all samples.

import { invariant } from "../errors.ts";
import { add } from "../gpu/add.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { allocatePanels, panelBytes } from "../gpu/panels.ts";
import { symmetricRankKUpdate } from "../gpu/triangular/symmetric-rank-k-update.ts";
import { layOutTriangle, type TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";
import type { SequenceBatch } from "./batches.ts";
import { appendNode, type ChunkRange, joinNodes } from "./chunk-tree.ts";
import type { Hessians } from "./hessians.ts";

export interface HessianSum extends ChunkRange {
  readonly matrix: TriangularMatrix;
}

export interface HessianTree extends Hessians {
  /** From now on, rows are those of this batch. */
  begin(batch: SequenceBatch): void;
  /** Ends the last chunk, once the last batch has run. */
  finish(): Promise<void>;
  /** Of a finished tree: the sums of a capture, one for each node that its chunks make. */
  sums(capture: Capture): readonly HessianSum[];
  /** Makes the one Hessian of a capture: from its own sums and those of other jobs, which `load` puts into zeros. */
  join(
    capture: Capture,
    others: readonly ChunkRange[],
    load: (node: ChunkRange, to: TriangularMatrix) => Promise<void>,
  ): Promise<void>;
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
    sums: (capture) => inputOf(capture).nodes,
    async join(capture, others, load) {
      await joinInput(gpu, inputOf(capture), others, { load, ...options });
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
  others: readonly ChunkRange[],
  {
    load,
    maxPanelBytes,
  }: Pick<TreeOptions, "maxPanelBytes"> & {
    readonly load: (node: ChunkRange, to: TriangularMatrix) => Promise<void>;
  },
): Promise<void> {
  const join = joiner(gpu, input);
  const own = new Map<ChunkRange, HessianSum>(input.nodes.map((sum) => [sum, sum]));
  const joined: HessianSum[] = [];
  for (const node of [...own.keys(), ...others].toSorted((a, b) => a.first - b.first)) {
    const sum = own.get(node) ?? { ...node, matrix: await zeros(gpu, input, maxPanelBytes) };
    // From now on the input owns it, whatever fails.
    if (!own.has(node)) input.nodes.push(sum);
    if (!own.has(node)) await load(node, sum.matrix);
    await appendNode(joined, sum, join);
  }
  const root = await joinNodes(joined, join);
  input.nodes = root ? [root] : [];
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
