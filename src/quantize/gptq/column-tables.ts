import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { FactoredHessian } from "./factor-hessian.ts";

export interface ColumnTables {
  /** For the buffer `order`: four u32 a place. */
  readonly order: Uint32Array<ArrayBuffer>;
  /** For `groupOf`, and for `weight_g_idx`: the group of each column of the weight. */
  readonly groupOf: Uint32Array<ArrayBuffer>;
}

/**
 * Which group each column belongs to. actorder "group" forms groups in the order of quantization (and needs
 * `weight_g_idx`); otherwise a column keeps the group of its place in the weight.
 */
export function columnTables(
  { order, dead }: Pick<FactoredHessian, "order" | "dead">,
  args: QuantizationArgs,
): ColumnTables {
  const n = order.length;
  const size = args.group_size ?? args.block_structure?.[1] ?? n;
  const table = new Uint32Array(n * 4);
  const groupOf = new Uint32Array(n);
  order.forEach((original, place) => {
    const position = args.actorder === "group" ? n - 1 - place : original;
    const group = Math.floor(position / size);
    table.set([original, group, dead[original] ?? 0, 0], place * 4);
    groupOf[original] = group;
  });
  return { order: table, groupOf };
}
