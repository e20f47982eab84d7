// Between collecting and quantizing, jobs that share samples add their Hessians up, in pairs along the tree of chunks: each ends with
// those of the modules that it quantizes, and gives its sums of all others away. Of a job that has all samples nothing is left to be added.

import { givenFirst, givenSums, type PlacedSum, placeSums } from "../../calibrate/chunk-tree.ts";
import type { HessianSum, HessianTree } from "../../calibrate/hessian-tree.ts";
import { ExchangeError, invariant } from "../../errors.ts";
import {
  heldBytes,
  sentBytes,
  spreadPart,
  type TrianglePiece,
  trianglePieces,
  trimPart,
} from "../../gpu/triangular/triangle-pieces.ts";
import { layOutTriangle, type TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { PassStatistics } from "./calibrate.ts";
import type { LayerAtWork, Pass } from "./layer-at-work.ts";
import type { ShareAtWork } from "./services.ts";
import { ownersOf, type ShareNames, shareNames } from "./share-names.ts";
import { waitLater } from "./wait-later.ts";

/** Pieces that go at a time, and that come. A browser has six connections to a server, and modules come meanwhile. */
export const PIECES_AT_ONCE = 2;

/** What a share tells of a pass beside its sums. */
interface Counts {
  /** Tokens that the modules of each capture saw, in the order of the pass. */
  readonly tokens: readonly number[];
  /** What its forward products ran on. */
  readonly products: string;
}

export async function reduce(work: LayerAtWork, pass: Pass, { tree }: PassStatistics): Promise<void> {
  const { share, chunkAt } = work.services;
  if (!tree) return;
  await tree.finish();
  if (!share) return await joinAlone(pass, tree, new Set(chunkAt?.values()).size);
  const own = ownCaptures(work, pass);
  const names = shareNames(share.plan, work.index);
  const sums = { work, share, names };
  const giving = createGiving(sums);
  try {
    await giveCounts(pass, sums, tree);
    const counts = await takeCounts(work, pass, share, names);
    for (const { capture, root } of givenFirst(await placedCaptures(work, pass, share), share.plan.index)) {
      await tree.join(capture, root, {
        place: share.plan.index,
        load: async (sum, to) => await takeSum(sums, { capture, sum }, to),
        give: (sum) => giving.give(capture, sum),
      });
    }
    for (const capture of own) {
      const place = pass.captures.indexOf(capture);
      for (const { tokens } of counts) tree.addTokens(capture, tokens[place] ?? 0);
    }
  } finally {
    await giving.done();
  }
  for (const capture of pass.captures) if (!own.includes(capture)) tree.release(capture);
}

/** Adds the sums over all chunks of a job that has all samples. */
async function joinAlone({ captures }: Pass, tree: HessianTree, chunks: number): Promise<void> {
  const root = await placeSums([{ first: 0, end: chunks }], 0);
  const nobody = async () => await Promise.reject(new Error("no other job has samples"));
  for (const capture of captures)
    await tree.join(capture, root, { place: 0, load: nobody, give: () => undefined });
}

/** The captures of a pass whose modules this job quantizes. */
export function ownCaptures(
  { layer, services: { share } }: LayerAtWork,
  { captures }: Pass,
): readonly Capture[] {
  if (!share) return captures;
  const owners = ownersOf(captures, layer.tasks, share.plan.of);
  return captures.filter((capture) => owners.get(capture) === share.plan.index);
}

interface Sums {
  readonly work: LayerAtWork;
  readonly share: ShareAtWork;
  readonly names: ShareNames;
}

/** The captures of a pass and where their sums are made, the largest ones first: their owner has the most to do behind them. */
async function placedCaptures(
  { layer }: LayerAtWork,
  { captures }: Pick<Pass, "captures">,
  { plan }: ShareAtWork,
): Promise<{ readonly capture: Capture; readonly root: PlacedSum }[]> {
  const owners = ownersOf(captures, layer.tasks, plan.of);
  const inOrder = captures.toSorted((a, b) => b.columns - a.columns);
  return await Promise.all(
    inOrder.map(async (capture) => ({
      capture,
      root: await placeSums(plan.chunks, owners.get(capture) ?? 0),
    })),
  );
}

/** What others wait for goes in the order in which it is made, while this job waits for theirs. */
function createGiving(sums: Sums) {
  let last = Promise.resolve();
  return {
    give(capture: Capture, sum: HessianSum): void {
      last = waitLater(last.then(async () => await giveSum(sums, capture, sum)));
    },
    /** Resolves when all is given. */
    async done(): Promise<void> {
      await last;
    },
  };
}

async function giveSum(
  { work, share, names }: Sums,
  capture: Capture,
  { matrix, ...chunks }: HessianSum,
): Promise<void> {
  const place = work.layer.captures.indexOf(capture);
  await inLanes(trianglePieces(matrix.layout), async (piece, index) => {
    const buffer = matrix.buffers[piece.panel];
    invariant(buffer, "a buffer for each panel");
    await share.pieces.lend(sentBytes(piece), async (sent) => {
      await work.services.readbacks.read(buffer, piece.offset, heldBytes(piece), (part, position) =>
        trimPart(piece, { part, position }, sent),
      );
      await share.exchange.put(names.piece(place, chunks, index), [sent]);
    });
  });
}

async function takeSum(
  { work, share, names }: Sums,
  { capture, sum }: { readonly capture: Capture; readonly sum: PlacedSum },
  to: TriangularMatrix,
): Promise<void> {
  const { layer, services, step } = work;
  const what = `its Hessians of ${step.name}`;
  const from = sum.place;
  await inLanes(piecesOf(work, capture), async (piece, index) => {
    const name = names.piece(layer.captures.indexOf(capture), sum, index);
    const buffer = to.buffers[piece.panel];
    invariant(buffer, "a buffer for each panel");
    await share.pieces.lend(sentBytes(piece), async (room) => {
      const sent = await share.exchange.take(name, { from, what }, room);
      checkPiece(sent, sentBytes(piece), `Share ${from + 1}`, step.name);
      await services.uploads.fill(buffer, piece.offset, heldBytes(piece), (part, position) =>
        spreadPart(piece, sent, { part, position }),
      );
    });
  });
}

/** Does something with all items, a few at a time and in order. */
async function inLanes<Item>(
  items: readonly Item[],
  work: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const left = items.entries();
  const lane = async () => {
    for (const [index, item] of left) await work(item, index);
  };
  const lanes = Array.from({ length: PIECES_AT_ONCE }, lane);
  try {
    await Promise.all(lanes);
  } finally {
    // Buffers are not given back while one of them is at work.
    await Promise.allSettled(lanes);
  }
}

async function giveCounts(
  { index, captures }: Pass,
  { share, names }: Sums,
  tree: HessianTree,
): Promise<void> {
  const counts: Counts = {
    tokens: captures.map((capture) => tree.tokens(capture)),
    products: share.products,
  };
  const text = new TextEncoder().encode(JSON.stringify(counts));
  if (share.plan.of > 1) await share.exchange.put(names.counts(index, share.plan.index), [text]);
}

/** What the other shares counted. */
async function takeCounts(
  { step }: LayerAtWork,
  pass: Pass,
  { plan, exchange, products }: ShareAtWork,
  names: ShareNames,
): Promise<Counts[]> {
  const all: Counts[] = [];
  for (let from = 0; from < plan.of; from++) {
    if (from === plan.index) continue;
    const what = `its sums over its samples in ${step.name}`;
    const bytes = await exchange.take(names.counts(pass.index, from), { from, what });
    const counts = JSON.parse(new TextDecoder().decode(bytes)) as Counts;
    if (counts.products !== products)
      throw new ExchangeError(
        `Share ${from + 1} computes forward passes on ${counts.products}, this one on ${products}: their sums do not belong together. Run all shares on GPUs of one kind and with one GPU budget, or with --forward-products F32.`,
      );
    all.push(counts);
  }
  return all;
}

function piecesOf({ services: { gpu } }: LayerAtWork, { columns }: Capture): TrianglePiece[] {
  return trianglePieces(layOutTriangle(columns, gpu.device.limits.maxStorageBufferBindingSize));
}

function checkPiece(bytes: Uint8Array, due: number, author: string, layer: string): void {
  if (bytes.byteLength === due) return;
  throw new ExchangeError(
    `${author} gave ${bytes.byteLength} bytes of a Hessian of ${layer} where ${due} are due. Delete the exchange folder and begin all shares again.`,
  );
}

/** Removes what this job gave away of the layer before, once all modules of this one are quantized. */
export async function dropSums(work: LayerAtWork): Promise<void> {
  const { services, layer, schedule } = work;
  const { share } = services;
  if (!share || share.plan.of === 1) return;
  const { plan } = share;
  const names = shareNames(plan, work.index);
  const given: string[] = [];
  for (const [index, captures] of schedule.passes.entries()) {
    for (const { capture, root } of await placedCaptures(work, { captures }, share)) {
      const place = layer.captures.indexOf(capture);
      for (const sum of givenSums(root, plan.index))
        for (const piece of piecesOf(work, capture).keys()) given.push(names.piece(place, sum, piece));
    }
    given.push(names.counts(index, plan.index));
  }
  await share.sums.keep(given);
}
