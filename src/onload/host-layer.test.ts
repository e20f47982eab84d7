import { describe, expect, it } from "vitest";
import { narrowFromFloat32, widenToFloat32 } from "../formats/numbers/dtype.ts";
import type { Linear } from "../model/weight-description.ts";
import { linearRows, memoryLayer } from "./host-layer.ts";

const [EXPERTS, INPUTS, WIDTH] = [3, 4, 10];

/** Experts with inputs before outputs; each value is its own place. */
const values = Float32Array.from({ length: EXPERTS * INPUTS * WIDTH }, (_, index) => index);
const host = memoryLayer([
  ["experts", { dtype: "BF16", columns: WIDTH, bytes: narrowFromFloat32("BF16", values) }],
]);

describe("rows of a weight that lies turned over", () => {
  it("are columns of its expert's matrix, some steps apart", () => {
    const linear: Linear = {
      module: "experts.1.up_proj",
      rows: WIDTH / 2,
      columns: INPUTS,
      bias: null,
      source: {
        tensor: "experts",
        shape: [EXPERTS, INPUTS, WIDTH],
        firstRow: INPUTS,
        turned: { firstColumn: 1, step: 2 },
      },
    };
    const row = (index: number) =>
      Array.from({ length: INPUTS }, (_, input) => INPUTS * WIDTH + input * WIDTH + 1 + 2 * index);
    expect([...widenToFloat32("BF16", linearRows(host, linear, 2, 2))]).toEqual([...row(2), ...row(3)]);
  });
});
