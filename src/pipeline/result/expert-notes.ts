// What the user should know of experts that saw few tokens or none.

import type { ModuleReport } from "../../api/compressor-api.ts";
import type { CalibrationOptions } from "../../api/job-options.ts";
import { listSome } from "../../formats/text/list-some.ts";

const MODULES_NAMED = 8;

/** Sentences about experts that too few tokens were routed to; none where all experts saw all tokens. */
export function expertNotes(
  modules: readonly ModuleReport[],
  options: Pick<CalibrationOptions, "moe_calibrate_all_experts" | "moe_min_tokens_per_expert"> | null,
): string[] {
  if (!options || options.moe_calibrate_all_experts) return [];
  const least = options.moe_min_tokens_per_expert;
  const tokensOf = new Map<string, number>();
  for (const { module, tokens } of modules) {
    const expert = /^.*\.experts\.\d+/.exec(module)?.[0];
    if (expert !== undefined) tokensOf.set(expert, Math.min(tokensOf.get(expert) ?? tokens, tokens));
  }
  const unseen = [...tokensOf].filter(([, tokens]) => tokens === 0).map(([expert]) => expert);
  const few = [...tokensOf].filter(([, tokens]) => tokens > 0 && tokens < least).map(([expert]) => expert);
  return [
    ...note(unseen, "no token was routed to"),
    ...note(few, `fewer tokens than moe_min_tokens_per_expert (${least}) were routed to`),
  ];
}

function note(experts: readonly string[], why: string): string[] {
  if (experts.length === 0) return [];
  const what = experts.length === 1 ? "expert was" : "experts were";
  return [
    `${experts.length} ${what} rounded to nearest, because ${why} them: ${listSome(experts, MODULES_NAMED)}. Use more calibration text, or calibrate all experts.`,
  ];
}
