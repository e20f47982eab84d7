import { describe, expect, it } from "vitest";
import {
  appendNode,
  type ChunkRange,
  givenFirst,
  givenSums,
  joinNodes,
  nodesOf,
  type PlacedSum,
  placeSums,
} from "./chunk-tree.ts";
import { seededRandom } from "../testing/random.ts";

interface Sum extends ChunkRange {
  /** Which sums were added to which, in words. */
  readonly told: string;
}

const leaf = (first: number): Sum => ({ first, end: first + 1, told: String(first) });
const join = async (left: Sum, right: Sum): Promise<Sum> =>
  await Promise.resolve({ first: left.first, end: right.end, told: `(${left.told}+${right.told})` });

async function nodesFrom({ first, end }: ChunkRange): Promise<Sum[]> {
  const nodes: Sum[] = [];
  for (let chunk = first; chunk < end; chunk++) await appendNode(nodes, leaf(chunk), join);
  return nodes;
}

/** How all chunks are added up if they lie in shares that end there. */
async function added(ends: readonly number[]): Promise<string | undefined> {
  const nodes: Sum[] = [];
  for (const [at, end] of ends.entries())
    for (const node of await nodesFrom({ first: ends[at - 1] ?? 0, end }))
      await appendNode(nodes, node, join);
  return (await joinNodes(nodes, join))?.told;
}

describe("sums of chunks", () => {
  it("are added in one order, however many shares there are", async () => {
    for (const chunks of [1, 2, 5, 7, 8]) {
      const alone = await added([chunks]);
      for (let first = 1; first < chunks; first++) {
        expect(await added([first, chunks])).toBe(alone);
        for (let second = first + 1; second < chunks; second++)
          expect(await added([first, second, chunks])).toBe(alone);
      }
    }
    expect(await added([6])).toBe("(((0+1)+(2+3))+(4+5))");
    expect(await added([7])).toBe("(((0+1)+(2+3))+((4+5)+6))");
  });

  it("are those nodes of the tree that a share's chunks make", async () => {
    expect(nodesOf({ first: 3, end: 8 })).toEqual([
      { first: 3, end: 4 },
      { first: 4, end: 8 },
    ]);
    for (const range of [
      { first: 0, end: 8 },
      { first: 1, end: 7 },
      { first: 2, end: 5 },
    ])
      expect((await nodesFrom(range)).map(({ first, end }) => ({ first, end }))).toEqual(nodesOf(range));
  });

  it("move to the job that wants their whole, and meet on the way", async () => {
    const told = ({ first, halves }: PlacedSum): string =>
      halves ? `(${halves.map(told).join("+")})` : String(first);
    const ranges = (ends: readonly number[]) => ends.map((end, at) => ({ first: ends[at - 1] ?? 0, end }));
    for (const ends of [[8], [1, 8], [4, 8], [2, 5, 8], [1, 3, 5], [2, 4, 6, 8], [1, 2, 3, 4, 5, 6, 7, 8]])
      for (const owner of ends.keys()) {
        const root = await placeSums(ranges(ends), owner);
        expect(root.place).toBe(owner);
        // All that others make is given once, and what the owner makes never.
        const given = ends.map((_, place) => givenSums(root, place).length);
        expect(given[owner]).toBe(0);
        expect(given.every((count, place) => place === owner || count > 0)).toBe(true);
      }
    const root = await placeSums(ranges([2, 4, 6, 8]), 3);
    expect(told(root)).toBe("((0+2)+(4+6))");
    const taken = [0, 1, 2].map((place) => givenSums(root, place).map(({ first, end }) => [first, end]));
    expect(taken).toEqual([[[0, 4]], [[2, 4]], [[4, 6]]]);
  });

  it("that others want go first, and nobody waits in a circle", async () => {
    const random = seededRandom(7);
    const pick = (below: number) => Math.floor(random() * below);
    for (let round = 0; round < 300; round++) {
      const jobs = 1 + pick(7);
      const ranges: ChunkRange[] = [];
      for (let job = 0; job < jobs; job++) {
        const first = ranges.at(-1)?.end ?? 0;
        ranges.push({ first, end: first + 1 + pick(4) });
      }
      const wanted = await Promise.all(
        Array.from({ length: 5 }, async (_, input) => ({ input, root: await placeSums(ranges, pick(jobs)) })),
      );
      const plans = ranges.map((_, place) => {
        const order = givenFirst(wanted, place);
        const own = order.map(({ root }) => root.place === place);
        expect(own).toEqual(own.toSorted((a, b) => Number(a) - Number(b)));
        // Two pieces of each.
        return order.flatMap(({ input, root }) =>
          [0, 1].map((piece) => ({ name: `${input} ${piece}`, steps: stepsOf(root, place) })),
        );
      });
      for (const lanes of [1, 3]) expect(runToEnd(plans, lanes)).toBe(true);
    }
  });
});

interface Step {
  readonly kind: "give" | "take";
  readonly sum: ChunkRange;
}

/** What a job does for a sum, one after the other: it takes what it is made of, and gives what others go on with. */
function stepsOf(root: PlacedSum, place: number): Step[] {
  const made = ({ halves }: PlacedSum): Step[] =>
    (halves ?? []).flatMap((half): Step[] =>
      half.place === place ? made(half) : [{ kind: "take", sum: half }],
    );
  const given = givenSums(root, place).flatMap((sum): Step[] => [...made(sum), { kind: "give", sum }]);
  return root.place === place ? [...given, ...made(root)] : given;
}

/** What a job does for a piece of a sum. */
interface Item {
  readonly name: string;
  readonly steps: readonly Step[];
}

/** True if all jobs come to their end, each at so many items at a time, which wait for what they take. */
function runToEnd(plans: readonly (readonly Item[])[], lanes: number): boolean {
  const there = new Set<string>();
  const copies = plans.map((plan) => plan.map(({ name, steps }) => ({ name, steps: [...steps] })));
  const undone = (all: typeof copies) => all.map((items) => items.filter(({ steps }) => steps.length > 0));
  let left = undone(copies);
  for (let moved = true; moved;) {
    moved = false;
    for (const { name, steps } of left.flatMap((items) => items.slice(0, lanes))) {
      for (let step = steps[0]; step; step = steps[0]) {
        const what = `${name} ${step.sum.first} ${step.sum.end}`;
        if (step.kind === "take" && !there.has(what)) break;
        if (step.kind === "give") there.add(what);
        steps.shift();
        moved = true;
      }
    }
    left = undone(left);
  }
  return left.every((items) => items.length === 0);
}
