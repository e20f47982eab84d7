// Between collecting and quantizing, jobs that share samples add their Hessians up, in pairs along the tree of chunks: each ends with
// those of the modules that it quantizes, and gives its sums of all others away. Of a job that has all samples nothing is left to be added.

import { allEnded } from "../../../all-ended.ts";
import { givenFirst, givenSums, type PlacedSum, placeSums } from "../../../calibrate/chunk-tree.ts";
import type { HessianTree, SumExchange } from "../../../calibrate/hessian-tree.ts";
import { endedBy } from "../../../ended-by.ts";
import { ExchangeError } from "../../../errors.ts";
import { sentBytes, type TrianglePiece, trianglePieces } from "../../../gpu/triangular/triangle-pieces.ts";
import { layOutTriangle } from "../../../gpu/triangular/triangular-matrix.ts";
import { beginJointly, type JointWork } from "../../../joint-work.ts";
import type { Capture } from "../../../model/layer-linears.ts";
import type { LayerAtWork, Pass } from "../layer-at-work.ts";
import type { ShareAtWork } from "../services.ts";
import { ownersOf, type ShareNames, shareNames } from "./share-names.ts";
import { createSumPieces, type SumsAtWork } from "./sum-pieces.ts";

/**
 * Pieces that are added up at a time: while others are given, of sums that go on from here and of those that stay, and behind that. What waits for a
 * file holds one of the six connections that a browser has to a server.
 */
const AT_ONCE = { going: 3, besideGiven: 2, behind: 5 } as const;

/** What a share tells of a pass beside its sums. */
interface Counts {
  /** Tokens that the modules of each capture saw, in the order of the pass. */
  readonly tokens: readonly number[];
  /** What its forward products ran on. */
  readonly products: string;
}

/** Adds up what a pass has collected in `tree`; without one its sums are whole already. */
export async function reduce(
  work: LayerAtWork,
  pass: Pass,
  { tree }: { readonly tree: HessianTree | null },
): Promise<void> {
  const { share, chunkAt } = work.services;
  if (!tree) return;
  await tree.finish();
  if (!share || share.plan.of === 1) return await joinAlone(work, pass, tree, new Set(chunkAt).size);
  const own = ownCaptures(work, pass);
  const sums = { work, share, names: shareNames(share.plan, work.index) };
  await beginJointly(async (joint) => {
    const counted = joint.watch(giveCounts(pass, sums, tree));
    await joinWithOthers(sums, pass, tree, joint);
    await counted;
  });
  const counts = await takeCounts(work, pass, share, sums.names);
  for (const capture of own) {
    const place = pass.captures.indexOf(capture);
    for (const { tokens } of counts) tree.addTokens(capture, tokens[place] ?? 0);
  }
  for (const capture of pass.captures) if (!own.includes(capture)) tree.release(capture);
}

/** Adds the sums over all chunks of a job that has all samples. */
async function joinAlone(
  work: LayerAtWork,
  { captures }: Pass,
  tree: HessianTree,
  chunks: number,
): Promise<void> {
  const root = await placeSums([{ first: 0, end: chunks }], 0);
  const nobody = async () => await Promise.reject(new Error("no other job has samples"));
  for (const capture of captures) {
    for (const piece of piecesOf(work, capture))
      await tree.join(capture, root, piece, { place: 0, add: nobody, give: () => undefined });
    tree.joined(capture, root, 0);
  }
}

/** Adds the sums up piece by piece: a job in the middle of the tree has each go on when it is there. */
async function joinWithOthers(
  sums: SumsAtWork,
  pass: Pass,
  tree: HessianTree,
  joint: JointWork,
): Promise<void> {
  const { work, share } = sums;
  const { gpu } = work.services;
  const place = share.plan.index;
  const placed = givenFirst(await placedCaptures(work, pass, share), place);
  const items = placed.flatMap(({ capture, root }) =>
    piecesOf(work, capture).map((piece) => ({ capture, root, piece })),
  );
  if (items.length === 0) return;
  // The plan has room for one sum more than half of the chunks make.
  const bytes = Math.max(...items.map(({ piece }) => sentBytes(piece)));
  using rows = await gpu.memory.allocate({ label: "piece of a sum on its way", bytes });
  const pieces = createSumPieces(sums, rows, joint);
  const among = (capture: Capture): SumExchange => ({
    place,
    add: async (sum, piece, to) => await pieces.add(capture, sum, piece, to),
    give: (sum, piece) => pieces.give(capture, sum, piece),
  });
  const join = async ({ capture, root, piece }: (typeof items)[number]) =>
    await joint.part(async () => await tree.join(capture, root, piece, among(capture)));
  const staying = items.filter(({ root }) => root.place === place).values();
  const joinAll = async () => {
    await inLanes(items.filter(({ root }) => root.place !== place).values(), AT_ONCE.going, join);
    const afterwards = async () => {
      await pieces.given();
      await inLanes(staying, AT_ONCE.behind - AT_ONCE.besideGiven, join);
    };
    await allEnded([inLanes(staying, AT_ONCE.besideGiven, join), afterwards()]);
  };
  // The buffer is not given back while a piece is at work.
  await endedBy(joinAll, async () => await pieces.given());
  for (const { capture, root } of placed) if (root.place === place) tree.joined(capture, root, place);
}

/** The captures of a pass whose modules this job quantizes. */
export function ownCaptures(work: LayerAtWork, { captures }: Pass): readonly Capture[] {
  const { share } = work.services;
  if (!share) return captures;
  const owners = ownersOf(work, captures, share.plan.of);
  return captures.filter((capture) => owners.get(capture) === share.plan.index);
}

/** The captures of a pass and where their sums are made, the largest ones first: their owner has the most to do behind them. */
async function placedCaptures(
  work: LayerAtWork,
  { captures }: Pick<Pass, "captures">,
  { plan }: ShareAtWork,
): Promise<{ readonly capture: Capture; readonly root: PlacedSum }[]> {
  const owners = ownersOf(work, captures, plan.of);
  const inOrder = captures.toSorted((a, b) => b.columns - a.columns);
  return await Promise.all(
    inOrder.map(async (capture) => ({
      capture,
      root: await placeSums(plan.chunks, owners.get(capture) ?? 0),
    })),
  );
}

/** Does something with what is left of some items, a few at a time and in order. */
async function inLanes<Item>(
  left: Iterator<Item>,
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const lane = async () => {
    for (let next = left.next(); !next.done; next = left.next()) await work(next.value);
  };
  await allEnded(Array.from({ length: atOnce }, lane));
}

async function giveCounts(
  { index, captures }: Pass,
  { share, names }: SumsAtWork,
  tree: HessianTree,
): Promise<void> {
  const counts: Counts = {
    tokens: captures.map((capture) => tree.tokens(capture)),
    products: share.products,
  };
  const text = new TextEncoder().encode(JSON.stringify(counts));
  await share.exchange.put(names.counts(index, share.plan.index), [text]);
}

/** What the other shares counted. */
async function takeCounts(
  { step }: LayerAtWork,
  pass: Pass,
  { plan, exchange, products }: ShareAtWork,
  names: ShareNames,
): Promise<Counts[]> {
  const take = async (from: number): Promise<Counts> => {
    const what = `its sums over its samples in ${step.name}`;
    const bytes = await exchange.take(names.counts(pass.index, from), { from, what });
    const counts = JSON.parse(new TextDecoder().decode(bytes)) as Counts;
    if (counts.products !== products)
      throw new ExchangeError(
        `Share ${from + 1} computes forward passes on ${counts.products}, this one on ${products}: their sums do not belong together. Run all shares on GPUs of one kind and with one GPU budget, or with --forward-products F32.`,
      );
    return counts;
  };
  const others = Array.from({ length: plan.of }, (_, from) => from).filter((from) => from !== plan.index);
  return await Promise.all(others.map(take));
}

function piecesOf({ services: { gpu } }: LayerAtWork, { columns }: Capture): TrianglePiece[] {
  return trianglePieces(layOutTriangle(columns, gpu.device.limits.maxStorageBufferBindingSize));
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
        for (const { index: piece } of piecesOf(work, capture)) given.push(names.piece(place, sum, piece));
    }
    given.push(names.counts(index, plan.index));
  }
  await share.sums.keep(given);
}
