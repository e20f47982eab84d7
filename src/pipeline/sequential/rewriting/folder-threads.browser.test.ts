import { expect, it } from "vitest";
import { narrowFromFloat32 } from "../../../formats/numbers/dtype.ts";
import type { Fold } from "../../../formats/weights/fold.ts";
import { foldLayer } from "../../../onload/fold-layer.ts";
import { memoryLayer } from "../../../onload/host-layer.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { createFolders } from "./folder-threads.ts";

/** Three pieces, the last of which is smaller. */
const [ROWS, COLUMNS] = [640, 1024];

function layer() {
  const weight = narrowFromFloat32("BF16", randomNormal(ROWS * COLUMNS, seededRandom(1)));
  const norm = narrowFromFloat32("BF16", randomNormal(COLUMNS, seededRandom(2)));
  const host = memoryLayer([
    ["weight", { dtype: "BF16", columns: COLUMNS, bytes: weight }],
    ["norm", { dtype: "BF16", columns: 1, bytes: norm }],
  ]);
  return { host, weight, norm };
}

function folds(seed: number): Fold[] {
  const factors = (count: number) => randomNormal(count, seededRandom(seed)).map((value) => 2 ** value);
  const columns = factors(COLUMNS);
  return [
    { tensor: "weight", axis: "columns", factors: columns, divides: false, offset: 0 },
    { tensor: "norm", axis: "rows", factors: columns, divides: true, offset: 1 },
    { tensor: "weight", axis: "rows", factors: factors(ROWS), divides: true, offset: 0 },
  ];
}

/** Of a million bytes, sooner told than by what would tell them one by one. */
function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.every((byte, at) => byte === other[at]);
}

it("fold in threads what would be folded here, and begin with the originals when more comes", async () => {
  const [here, apart] = [layer(), layer()];
  const services = { fold: createFolders(0), checkpoint: async () => await Promise.resolve() };
  for (const [host, folding] of [
    [here, foldLayer(here.host)],
    [apart, foldLayer(apart.host, services)],
  ] as const) {
    const before = host.weight.slice();
    await folding.add(folds(3), false);
    await folding.add(folds(4), true);
    expect(isEqual(host.weight, before)).toBe(false);
  }
  expect(isEqual(apart.weight, here.weight)).toBe(true);
  expect(isEqual(apart.norm, here.norm)).toBe(true);
});
