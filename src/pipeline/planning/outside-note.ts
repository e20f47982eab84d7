// What a recipe that chooses codes by a text does to Linears that no samples come to.

import { choosesByText } from "../../formats/recipe/recipe.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { listSome } from "../../formats/text/list-some.ts";

const SHOWN = 4;

/** That such Linears, outside of the decoder's layers and of the head behind them, are rounded to nearest, where the plan has some. */
export function outsideNotes({
  steps,
  calibration,
}: Pick<CompressionPlan, "steps" | "calibration">): string[] {
  if (!calibration) return [];
  const modules = steps.flatMap(({ calibrated, quantize }) =>
    calibrated ? [] : quantize.filter(({ modifier }) => choosesByText(modifier)).map(({ module }) => module),
  );
  if (modules.length === 0) return [];
  return [
    `${listSome(modules, SHOWN)} ${modules.length === 1 ? "is" : "are"} rounded to nearest: samples come to the decoder's layers, and to a head that stands alone behind them. Add ${modules.length === 1 ? "it" : "them"} to ignore, if that costs too much.`,
  ];
}
