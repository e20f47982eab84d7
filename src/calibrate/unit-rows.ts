// Rows of inputs, cut where the units of samples end: see `sample-batches.ts`.

import type { RowRun } from "../gpu/triangular/symmetric-rank-k-update.ts";
import type { SequenceBatch } from "./batches.ts";
import type { Activations } from "./forward/layer-weights.ts";

/** What of an input tells where it is cut. */
export type CutInput = Pick<Activations, "rows" | "routed">;

export interface UnitCutter {
  /** From now on, rows are those of this batch. */
  begin(batch: SequenceBatch): void;
  /**
   * Cuts the next rows of one of the inputs. Of an expert that sees its own tokens alone they are one piece: its part of a unit is so
   * small that a GPU would wait for its memory.
   */
  cut(of: object, input: CutInput): RowRun[];
}

export function createUnitCutter(): UnitCutter {
  const seen = new Map<object, number>();
  let units: readonly number[] = [];
  return {
    begin(batch) {
      units = batch.units ?? [];
      seen.clear();
    },
    cut(of, { rows, routed = false }) {
      if (routed) return [{ first: 0, rows }];
      const from = seen.get(of) ?? 0;
      seen.set(of, from + rows);
      const inside = units.map((end) => end - from).filter((end) => end > 0 && end < rows);
      return [...inside, rows].map((end, index) => {
        const first = inside[index - 1] ?? 0;
        return { first, rows: end - first };
      });
    },
  };
}
