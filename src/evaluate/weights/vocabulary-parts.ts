import type { RowRange } from "../graph/linear-nodes.ts";
import type { Engine } from "../runtime/engine.ts";

/** A part of a head takes this part of the budget. */
const BUDGET_SHARE = 1 / 8;

/** Runs of rows of a head of about equal size, in float32 each a part of the budget: a head may be larger than a layer. */
export function vocabularyParts(
  { gpu, maxInputBytes }: Engine,
  { vocabSize, hiddenSize }: { readonly vocabSize: number; readonly hiddenSize: number },
): RowRange[] {
  const bytes = Math.min(
    maxInputBytes,
    gpu ? gpu.memory.budgetBytes * BUDGET_SHARE : Number.POSITIVE_INFINITY,
  );
  const most = Math.max(1, Math.floor(bytes / (4 * hiddenSize)));
  const rows = Math.ceil(vocabSize / Math.ceil(vocabSize / most));
  return Array.from({ length: Math.ceil(vocabSize / rows) }, (_, index) => ({
    firstRow: index * rows,
    rows: Math.min(rows, vocabSize - index * rows),
  }));
}
