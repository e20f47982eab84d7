import { expect, it } from "vitest";
import { weightArgs } from "../../formats/schemes/quantization-args.ts";
import type { Linear } from "../../model/weight-description.ts";
import type { QuantizerTask } from "../quantizer.ts";
import { GUARD_VARIANTS } from "./guard-experts.ts";
import type { GroupMember } from "./search-mappings.ts";
import { guardWork, ROUNDING, searchWork } from "./search-work.ts";

/** A mapping of one Linear. */
function member(rows: number, columns: number, byBlock: boolean): GroupMember {
  const module = "linear";
  const source = { tensor: "linear.weight", shape: [rows, columns], firstRow: 0 };
  const linear: Linear = { module, rows, columns, bias: null, source };
  const task: QuantizerTask = {
    module,
    dtype: "BF16",
    rows,
    columns,
    weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 32 }),
    format: "pack-quantized",
    modifier: { name: "QuantizationModifier", groups: [], ignore: [], kv_cache_scheme: null },
    fusedWith: null,
  };
  const mapping = {
    place: "mlp-output",
    block: null,
    smooth: "norm",
    tensors: [],
    balance: [linear],
    carried: [],
    columns,
  } as const;
  return { mapping, columns, tasks: [task], byBlock };
}

it("counts a rounding of each weight for each candidate, and products with a Hessian where there is one", () => {
  const roundings = 20 * 8 * 16 * ROUNDING;
  expect(searchWork([member(8, 16, true)], 20)).toBe(roundings);
  // Once more for the outputs that errors are compared with.
  expect(searchWork([member(8, 16, false)], 20)).toBe(roundings + 21 * 8 * 2 * 16 ** 2);
  const both = [member(8, 16, true), member(8, 16, false)];
  expect(searchWork(both, 20)).toBe(2 * roundings + 21 * 8 * 2 * 16 ** 2);
});

it("counts the roundings of guarded experts: each of two inputs' once for the two variants that share it", () => {
  const experts = { input: member(8, 16, false), inner: [member(16, 4, false), member(16, 4, false)] };
  expect(guardWork(experts)).toBe((2 * 8 * 16 + GUARD_VARIANTS.length * 2 * 16 * 4) * ROUNDING);
});
