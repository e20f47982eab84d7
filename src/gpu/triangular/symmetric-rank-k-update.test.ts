import { expect, it } from "vitest";
import type { Gpu } from "../gpu.ts";
import type { Kernel } from "../kernel.ts";
import type { LedgerBuffer } from "../memory.ts";
import { symmetricRankKUpdate } from "./symmetric-rank-k-update.ts";
import { layOutTriangle } from "./triangular-matrix.ts";

const buffer = { bytes: 2 ** 30 } as LedgerBuffer;
const N = 4096;
const ROWS = 9000;

interface Dispatched {
  readonly params: Readonly<Record<string, number>>;
}

/** The products that an update is made of: the kernel, the first row of X, and how many. */
async function productsOf(hasUnits: boolean, runs?: readonly { first: number; rows: number }[]) {
  const products: [string, number, number][] = [];
  const queue = {
    run: async ({ name }: Kernel, { params: { k, x_offset, b_offset } }: Dispatched) => {
      const offset = x_offset ?? b_offset ?? Number.NaN;
      if (k !== undefined) products.push([name, offset / N, k]);
      await Promise.resolve();
    },
    clear: async () => await Promise.resolve(),
    *split(_: Kernel, count: number) {
      yield { first: 0, end: count };
    },
  };
  const shape = { m: 16, n: 16, k: 16, subgroup: 32 };
  const matrices = hasUnits ? { shape, hessians: true, largest: buffer, takeSlot: () => 0 } : null;
  const gpu = { queue, tuning: { matrices }, adapter: { software: false } } as unknown as Gpu;
  const hessian = {
    layout: layOutTriangle(N, 2 ** 30),
    buffers: [buffer],
    [Symbol.dispose]: () => undefined,
  };
  const options = { alpha: 1, ...(runs ? { runs } : {}) };
  await symmetricRankKUpdate(gpu, hessian, { buffer, stride: N, rows: ROWS }, options);
  return products;
}

const RUNS = [
  { first: 0, rows: 5000 },
  { first: 5000, rows: 4000 },
];

it("adds up each run for itself in float32, in products of 4,096 rows at most", async () => {
  expect(await productsOf(false)).toEqual([
    ["gpu.matmul", 0, 4096],
    ["gpu.matmul", 4096, 4096],
    ["gpu.matmul", 8192, 808],
  ]);
  expect(await productsOf(false, RUNS)).toEqual([
    ["gpu.matmul", 0, 4096],
    ["gpu.matmul", 4096, 904],
    ["gpu.matmul", 5000, 4000],
  ]);
});

it("gives matrix units all rows whatever the runs, and what is no whole tile to float32", async () => {
  const halves = "gpu.rank-k-halves-16x16x16";
  for (const runs of [undefined, RUNS])
    expect(await productsOf(true, runs)).toEqual([
      [halves, 0, 4096],
      [halves, 4096, 4096],
      [halves, 8192, 800],
      ["gpu.matmul", 8992, 8],
    ]);
});
