import { describe, expect, it } from "vitest";
import { narrowFromFloat32, widenToFloat32 } from "../numbers/dtype.ts";
import { type Fold, foldRows, restoreFolds, storeFolds } from "./fold.ts";

const columns = 3;
const weight = Float32Array.of(1, -2, 0.5, 3, 1.5, -0.25);
const plain = { tensor: "w", divides: false, offset: 0 } as const;
const rows: Fold = { ...plain, axis: "rows", factors: Float32Array.of(2, 0.5) };
const inputs: Fold = { ...plain, axis: "columns", factors: Float32Array.of(1, 4, 3) };

describe("folding", () => {
  it("multiplies rows and columns", () => {
    const folded = foldRows(narrowFromFloat32("F32", weight), { dtype: "F32", columns, firstRow: 0 }, [
      rows,
      inputs,
    ]);
    expect([...widenToFloat32("F32", folded)]).toEqual([2, -16, 3, 1.5, 3, -0.375]);
  });

  it("knows which rows it has", () => {
    const second = narrowFromFloat32("F32", weight.slice(columns));
    const folded = foldRows(second, { dtype: "F32", columns, firstRow: 1 }, [rows]);
    expect([...widenToFloat32("F32", folded)]).toEqual([1.5, 0.75, -0.125]);
  });

  it("rounds once, however many factors there are", () => {
    const third = (factor: number): Fold => ({ ...inputs, factors: Float32Array.of(factor, 1, 1) });
    const bytes = narrowFromFloat32("BF16", Float32Array.of(1, 1, 1));
    const shape = { dtype: "BF16", columns, firstRow: 0 } as const;
    expect(foldRows(bytes, shape, [third(1.003), third(1 / 1.003)])).toEqual(bytes);
  });

  it("multiplies 1 + w of norms that have an offset", () => {
    const norm: Fold = { ...plain, tensor: "n", axis: "rows", factors: Float32Array.of(2, 2), offset: 1 };
    const bytes = narrowFromFloat32("F32", Float32Array.of(0.5, -0.25));
    const folded = foldRows(bytes, { dtype: "F32", columns: 1, firstRow: 0 }, [norm]);
    expect([...widenToFloat32("F32", folded)]).toEqual([2, 0.5]);
  });

  it("divides by what no reciprocal stands for", () => {
    const divided: Fold = { ...inputs, divides: true, factors: Float32Array.of(49, 49, 49) };
    const bytes = narrowFromFloat32("F32", Float32Array.of(49, 98, 1));
    const folded = foldRows(bytes, { dtype: "F32", columns, firstRow: 0 }, [divided]);
    expect([...widenToFloat32("F32", folded)]).toEqual([1, 2, Math.fround(1 / 49)]);
  });

  it("comes back from a journal as it was, where it is kept once for all that take the same", () => {
    const alike = ["a", "b", "c"].map((tensor) => ({ ...inputs, tensor }));
    const folds = [rows, ...alike, { ...inputs, factors: inputs.factors.slice() }];
    const stored = storeFolds(folds);
    expect(stored).toHaveLength(3);
    expect(restoreFolds(JSON.parse(JSON.stringify(stored)))).toEqual(folds);
  });
});
