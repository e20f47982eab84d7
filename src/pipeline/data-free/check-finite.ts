import { MalformedModelError } from "../../errors.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import type { TileStatistics } from "../../quantize/observe/tile-statistics.ts";

/** @throws MalformedModelError if a weight of the tile is NaN or infinite, saying where. */
export function checkFinite(task: QuantizeTask, firstRow: number, statistics: TileStatistics): void {
  const { nonfinite, firstNonfinite } = statistics;
  if (nonfinite === 0) return;
  const row = firstRow + Math.floor(firstNonfinite / task.columns);
  throw new MalformedModelError(
    `${task.tensor.name} has ${nonfinite} NaN or infinite weights in its rows from ${firstRow}, the first at row ${row}, column ${firstNonfinite % task.columns}. They cannot be quantized: the file ${task.tensor.file} is damaged (delete the stored source and try again), or the model itself is broken (add ${task.module} to ignore).`,
  );
}
