// What a recipe that chooses codes by a text does to Linears outside of the decoder's layers.

import { choosesByText } from "../../formats/recipe/recipe.ts";
import type { CompressionPlan } from "./compression-plan.ts";

const SHOWN = 4;

/** That such Linears (an output head that is not ignored) are rounded to nearest, where the plan has some. */
export function outsideNotes({
  steps,
  calibration,
}: Pick<CompressionPlan, "steps" | "calibration">): string[] {
  if (!calibration) return [];
  const modules = steps.flatMap(({ calibrated, quantize }) =>
    calibrated ? [] : quantize.filter(({ modifier }) => choosesByText(modifier)).map(({ module }) => module),
  );
  if (modules.length === 0) return [];
  const more = modules.length > SHOWN ? ` and ${modules.length - SHOWN} more` : "";
  return [
    `${modules.slice(0, SHOWN).join(", ")}${more} ${modules.length === 1 ? "is" : "are"} rounded to nearest: codes are chosen by the text in the decoder's layers alone. Add ${modules.length === 1 ? "it" : "them"} to ignore, if that costs too much.`,
  ];
}
