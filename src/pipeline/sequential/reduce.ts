// Between collecting and quantizing, jobs that share samples add their Hessians up: each gets those of the modules that it
// quantizes, and gives its sums of all others away. Of a job that has all samples nothing is left to be added.

import { type ChunkRange, nodesOf } from "../../calibrate/chunk-tree.ts";
import type { HessianTree } from "../../calibrate/hessian-tree.ts";
import { ExchangeError, invariant } from "../../errors.ts";
import {
  heldBytes,
  sentBytes,
  spreadPiece,
  type TrianglePiece,
  trianglePieces,
  trimPiece,
} from "../../gpu/triangular/triangle-pieces.ts";
import { layOutTriangle } from "../../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { PassStatistics } from "./calibrate.ts";
import type { LayerAtWork, Pass } from "./layer-at-work.ts";
import type { ShareAtWork } from "./services.ts";
import { ownersOf, type ShareNames, shareNames } from "./share-names.ts";
import { waitLater } from "./wait-later.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Pieces that go at a time, and that come. A browser has six connections to a server, and modules come meanwhile. */
const PIECES_AT_ONCE = 2;

/** What a share tells of a pass beside its sums. */
interface Counts {
  /** Tokens that the modules of each capture saw, in the order of the pass. */
  readonly tokens: readonly number[];
  /** What its forward products ran on. */
  readonly products: string;
}

export async function reduce(work: LayerAtWork, pass: Pass, { tree }: PassStatistics): Promise<void> {
  const { share } = work.services;
  if (!share || !tree) return;
  await tree.finish();
  const own = ownCaptures(work, pass);
  const names = shareNames(share.plan, work.index);
  // What others wait for goes while this job waits for theirs.
  const giving = waitLater(giveAway({ work, pass, share, names, tree }));
  const authors = authorsOf(share);
  const coming = takeAhead(piecesToTake({ work, pass, share, names, tree }, authors));
  try {
    for (const capture of own) await joinCapture(work, capture, { tree, authors, coming });
    const counts = await takeCounts(work, pass, share, names);
    for (const capture of own) {
      const place = pass.captures.indexOf(capture);
      for (const { tokens } of counts) tree.addTokens(capture, tokens[place] ?? 0);
    }
  } finally {
    await giving;
  }
  for (const capture of pass.captures) if (!own.includes(capture)) tree.release(capture);
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

interface Given {
  readonly work: LayerAtWork;
  readonly pass: Pass;
  readonly share: ShareAtWork;
  readonly names: ShareNames;
  readonly tree: HessianTree;
}

async function giveAway({ work, pass, share, names, tree }: Given): Promise<void> {
  const { layer, services } = work;
  if (share.plan.of === 1) return;
  const own = ownCaptures(work, pass);
  const counts: Counts = {
    tokens: pass.captures.map((capture) => tree.tokens(capture)),
    products: share.products,
  };
  const puts: Promise<void>[] = [];
  try {
    for (const capture of pass.captures.filter((candidate) => !own.includes(candidate))) {
      const place = layer.captures.indexOf(capture);
      for (const { first, end, matrix } of tree.sums(capture)) {
        const pieces = trianglePieces(matrix.layout);
        for (const [index, piece] of pieces.entries()) {
          // A piece is read back while those before it go, as many as the server is to be asked for at a time.
          await puts.at(-PIECES_AT_ONCE);
          const buffer = matrix.buffers[piece.panel];
          invariant(buffer, "a buffer for each panel");
          const held = await services.readbacks.readBytes(buffer, piece.offset, heldBytes(piece));
          const name = names.piece(place, { first, end }, index);
          puts.push(waitLater(share.exchange.put(name, [trimPiece(piece, held)])));
        }
      }
    }
    await Promise.all(puts);
  } finally {
    await Promise.allSettled(puts);
  }
  const text = new TextEncoder().encode(JSON.stringify(counts));
  await share.exchange.put(names.counts(pass.index, share.plan.index), [text]);
}

/** What the other shares counted; once they are there, their sums are, too. */
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
        `Share ${from + 1} computes forward passes on ${counts.products}, this one on ${products}: their sums do not belong together. Run all shares on GPUs of one kind, or with --forward-products F32.`,
      );
    all.push(counts);
  }
  return all;
}

/** A sum over some chunks, and the share that gives it. */
interface Author {
  readonly node: ChunkRange;
  readonly from: number;
}

/** The sums of the other shares, in the order in which they are added. */
function authorsOf({ plan }: ShareAtWork): Author[] {
  return plan.chunks.flatMap((range, from) =>
    from === plan.index ? [] : nodesOf(range).map((node) => ({ node, from })),
  );
}

/** What takes each piece of the sums that others give of this job's captures, in the order of their use. */
function piecesToTake({ work, pass, share, names }: Given, authors: readonly Author[]) {
  const { layer, step } = work;
  const what = `its Hessians of ${step.name}`;
  return ownCaptures(work, pass).flatMap((capture) =>
    authors.flatMap(({ node, from }) =>
      Array.from(piecesOf(work, capture).keys(), (index) => async () => {
        const name = names.piece(layer.captures.indexOf(capture), node, index);
        return await share.exchange.take(name, { from, what });
      }),
    ),
  );
}

function piecesOf({ services: { gpu } }: LayerAtWork, { columns }: Capture): TrianglePiece[] {
  return trianglePieces(layOutTriangle(columns, gpu.device.limits.maxStorageBufferBindingSize));
}

/** Takes things in order, the next ones already on their way. */
function takeAhead(takes: readonly (() => Promise<Bytes>)[]): { next(): Promise<Bytes> } {
  const coming: Promise<Bytes>[] = [];
  const left = takes.values();
  const begin = () => {
    const { value: take } = left.next();
    if (take) coming.push(waitLater(take()));
  };
  for (let count = 0; count < PIECES_AT_ONCE; count++) begin();
  return {
    async next() {
      const first = coming.shift();
      invariant(first, "each piece is taken once");
      const bytes = await first;
      begin();
      return bytes;
    },
  };
}

async function joinCapture(
  work: LayerAtWork,
  capture: Capture,
  {
    tree,
    authors,
    coming,
  }: {
    readonly tree: HessianTree;
    readonly authors: readonly Author[];
    readonly coming: ReturnType<typeof takeAhead>;
  },
): Promise<void> {
  const { services, step } = work;
  const pieces = piecesOf(work, capture);
  const nodes = authors.map(({ node }) => node);
  await tree.join(capture, nodes, async (node, to) => {
    const from = authors[nodes.indexOf(node)]?.from ?? 0;
    for (const piece of pieces) {
      const bytes = await coming.next();
      const buffer = to.buffers[piece.panel];
      invariant(buffer, "a buffer for each panel");
      checkPiece(bytes, sentBytes(piece), `Share ${from + 1}`, step.name);
      await services.uploads.write(spreadPiece(piece, bytes), buffer, piece.offset);
    }
  });
}

function checkPiece(bytes: Uint8Array, due: number, author: string, layer: string): void {
  if (bytes.byteLength === due) return;
  throw new ExchangeError(
    `${author} gave ${bytes.byteLength} bytes of a Hessian of ${layer} where ${due} are due. Delete the exchange folder and begin all shares again.`,
  );
}

/** Removes what this job gave away of a layer, once all of its modules are quantized. */
export async function dropSums(work: LayerAtWork): Promise<void> {
  const { services, layer, schedule } = work;
  const { share } = services;
  if (!share || share.plan.of === 1) return;
  const { plan, exchange } = share;
  const names = shareNames(plan, work.index);
  const range = plan.chunks[plan.index];
  invariant(range, "each share has chunks");
  for (const [index, captures] of schedule.passes.entries()) {
    const owners = ownersOf(captures, layer.tasks, plan.of);
    for (const capture of captures.filter((candidate) => owners.get(candidate) !== plan.index)) {
      const place = layer.captures.indexOf(capture);
      for (const node of nodesOf(range))
        for (const piece of piecesOf(work, capture).keys())
          await exchange.drop(names.piece(place, node, piece));
    }
    await exchange.drop(names.counts(index, plan.index));
  }
}
