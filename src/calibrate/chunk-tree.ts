// In which order sums over samples are added where several jobs share them: samples lie in a fixed number of chunks, and the
// chunks' sums are added along a binary tree. Who computes which chunk does not change a bit of the result.

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
