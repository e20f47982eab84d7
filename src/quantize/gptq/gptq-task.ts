import type { RefineSettings } from "../../formats/modifiers/gptq.ts";
import { driftShare, type QuantizingModifier } from "../../formats/recipe/recipe.ts";
import type { RtnTask } from "../rtn/tile-buffers.ts";

/** One Linear, and the modifier that says what is done to its codes. */
export interface GptqTask extends RtnTask {
  /** Absent for plain GPTQ. */
  readonly modifier?: QuantizingModifier;
}

/** What is done to a module's codes once all are chosen; null for nothing. */
export function refinementOf({ modifier }: GptqTask): RefineSettings | null {
  return modifier?.settings?.refine ?? null;
}

/** The share of the inputs' drift that a module's codes answer for; 0 for none. */
export function driftOf({ modifier }: GptqTask): number {
  return modifier ? driftShare(modifier) : 0;
}
