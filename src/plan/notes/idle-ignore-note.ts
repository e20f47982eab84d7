// What is to stay as it is, and is not there: a slip of the pen, whose module is quantized.

import type { Meter } from "../pattern/create-automaton.ts";
import { LINEAR_CLASSES } from "../targets/target-list.ts";
import { compilePattern, MAX_MATCHING_WORK, moduleName } from "../targets/target-pattern.ts";
import { listSome } from "../../formats/text/list-some.ts";

const SHOWN = 5;

/**
 * @param ignore names, patterns and classes as a recipe has them
 * @param modules of the model, by all names that they have; with output heads that share the embedding's weight
 * @returns a sentence about those that mean none of the modules; null where each means one
 * @throws RecipeError if a pattern cannot be used, or takes too long
 */
export function idleIgnoreNote(ignore: readonly string[], modules: readonly string[]): string | null {
  const meter: Meter = { left: MAX_MATCHING_WORK };
  const known = new Set([...modules, ...LINEAR_CLASSES]);
  const meansSome = (entry: string) => {
    if (!entry.startsWith("re:")) return known.has(entry);
    const pattern = compilePattern(entry.slice(3));
    return modules.some((module) => pattern.matches(moduleName(module), meter));
  };
  const idle = ignore.filter((entry) => !meansSome(entry));
  if (idle.length === 0) return null;
  return `No weight of this model is called ${listSome(idle, SHOWN)}, as ignore has it. Correct the name if a module is to stay as it is.`;
}
