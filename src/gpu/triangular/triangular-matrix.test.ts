import { describe, expect, it } from "vitest";
import { panelBytes } from "../panels.ts";
import { layOutTriangle } from "./triangular-matrix.ts";

describe("layOutTriangle", () => {
  it("covers every row once, in panels that an adapter of the smallest limits can bind", () => {
    for (const n of [1, 127, 128, 129, 3000, 28_672]) {
      const { panels } = layOutTriangle(n, 128 * 1024 ** 2);
      expect(panels.reduce((row, panel) => (panel.firstRow === row ? row + panel.rows : Number.NaN), 0)).toBe(
        n,
      );
      expect(Math.max(...panels.map(panelBytes))).toBeLessThanOrEqual(128 * 1024 ** 2);
    }
  });

  it("makes panels of even rows", () => {
    const rows = (n: number) => layOutTriangle(n, 2 ** 31).panels.map((panel) => panel.rows);
    expect(rows(28_672)).toEqual(Array.from({ length: 8 }, () => 3584));
    expect(rows(8192)).toEqual([4096, 4096]);
    expect(rows(4096)).toEqual([4096]);
  });

  it("holds the largest known Hessian, of order 28,672, in 1.75 GB", () => {
    const { bytes } = layOutTriangle(28_672, 128 * 1024 ** 2);
    expect(bytes).toBeLessThan(1.75e9);
  });
});
