// In which order sums over samples are added where several jobs share them: samples lie in a fixed number of chunks, and the
// chunks' sums are added along a binary tree. Who computes which chunk does not change a bit of the result.

import { invariant } from "../errors.ts";

/** Chunks `first` to `end` - 1. */
export interface ChunkRange {
  readonly first: number;
  readonly end: number;
}

/** True if two neighbouring ranges are the halves of a node of the tree. */
function areHalves(left: ChunkRange, right: ChunkRange): boolean {
  const size = left.end - left.first;
  return left.end === right.first && right.end - right.first === size && left.first % (2 * size) === 0;
}

/** Appends a node to neighbouring ones; halves become their whole. `join` adds the right one's sum to the left one's. */
export async function appendNode<Node extends ChunkRange>(
  nodes: Node[],
  node: Node,
  join: (left: Node, right: Node) => Promise<Node>,
): Promise<void> {
  nodes.push(node);
  for (;;) {
    const [left, right] = nodes.slice(-2);
    if (!left || !right || !areHalves(left, right)) return;
    nodes.splice(-2, 2, await join(left, right));
  }
}

/** The one sum of all chunks: where their number is no power of two, what is left is added from the right. */
export async function joinNodes<Node extends ChunkRange>(
  nodes: readonly Node[],
  join: (left: Node, right: Node) => Promise<Node>,
): Promise<Node | null> {
  const left = [...nodes];
  for (;;) {
    const right = left.pop();
    const before = left.pop();
    if (!right || !before) return right ?? null;
    left.push(await join(before, right));
  }
}

/** The largest nodes of the tree that a range of chunks is made of, in order. */
export function nodesOf({ first, end }: ChunkRange): ChunkRange[] {
  const nodes: ChunkRange[] = [];
  for (let at = first; at < end;) {
    let size = 1;
    while (at % (2 * size) === 0 && at + 2 * size <= end) size *= 2;
    nodes.push({ first: at, end: at + size });
    at += size;
  }
  return nodes;
}

/** A sum of the tree, and the job in which it is made. */
export interface PlacedSum extends ChunkRange {
  readonly place: number;
  /** The sums that it is made of; null of what a job has from its own samples. */
  readonly halves: readonly [PlacedSum, PlacedSum] | null;
}

/**
 * The sum over the chunks of all jobs, which `owner` wants. Of two sums that lie in different jobs, the one moves to the other: to
 * the owner, else to the left one, so that jobs add in pairs and the owner takes no more sums than the tree has levels.
 * @param ranges the chunks of each job, in order
 */
export async function placeSums(ranges: readonly ChunkRange[], owner: number): Promise<PlacedSum> {
  const join = async (left: PlacedSum, right: PlacedSum): Promise<PlacedSum> =>
    await Promise.resolve({
      first: left.first,
      end: right.end,
      place: right.place === owner ? owner : left.place,
      halves: [left, right],
    });
  const nodes: PlacedSum[] = [];
  for (const [place, range] of ranges.entries())
    for (const node of nodesOf(range)) await appendNode(nodes, { ...node, place, halves: null }, join);
  const root = await joinNodes(nodes, join);
  invariant(root, "there are chunks");
  return root;
}

/** The halves of a sum that is made in a job, first the one that is made there in any case. */
export function ownFirst(
  [left, right]: readonly [PlacedSum, PlacedSum],
  place: number,
): readonly [PlacedSum, PlacedSum] {
  return left.place === place ? [left, right] : [right, left];
}

/** The sums that a job makes and others use, in the order in which they are made. */
export function givenSums(root: PlacedSum, place: number): PlacedSum[] {
  const halves = root.halves ?? [];
  return halves.flatMap((half) => [
    ...givenSums(half, place),
    ...(half.place === place && root.place !== place ? [half] : []),
  ]);
}

/**
 * Sums in the order in which a job joins them, of some that all jobs have in one order: those that others want first, so that they are
 * on their way while it takes what it wants itself. Nobody waits in a circle: a job takes parts of what another one wants from
 * jobs that do not want it either, all of which go through those in one order, and none from the one that wants it. Each piece of a sum
 * is such a sum of its own, so that they follow one another, and a job may be at several as long as it begins them in order: the first one
 * that is not done yet waits for nothing behind it.
 */
export function givenFirst<Placed extends { readonly root: PlacedSum }>(
  placed: readonly Placed[],
  place: number,
): Placed[] {
  const isOwn = ({ root }: Placed) => root.place === place;
  return [...placed.filter((each) => !isOwn(each)), ...placed.filter(isOwn)];
}
