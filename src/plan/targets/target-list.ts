// A list of targets or of what is ignored, prepared for many names: exact ones are looked up, patterns are few.

import { RecipeError } from "../../errors.ts";
import type { Meter } from "../pattern/create-automaton.ts";
import {
  compilePattern,
  MAX_MATCHING_WORK,
  MAX_PROGRAMS_SIZE,
  moduleName,
  type TargetPattern,
} from "./target-pattern.ts";

/** Checkpoints have no classes, so the only class known here is Linear, by its names in transformers and vLLM. */
export const LINEAR_CLASSES: readonly string[] = ["Linear", "LinearBase"];

/** Targets, each with what it stands for. */
export interface TargetList<Value> {
  /** What the strongest target that means a module stands for: exact name, then pattern, then class; null if none. */
  find(module: string): Value | null;
  /** The same without classes. */
  findNamed(module: string): Value | null;
  /** True if a target reads just so. */
  has(target: string): boolean;
}

/**
 * Within patterns and classes the alphabetical order of the targets decides; of equal targets the last one.
 * @throws RecipeError if the patterns are too large together, or one cannot be used.
 */
export function createTargetList<Value>(targets: Iterable<readonly [string, Value]>): TargetList<Value> {
  const byTarget = new Map(targets);
  const patterns = new Map<string, [TargetPattern, Value]>();
  let size = 0;
  for (const [target, value] of byTarget) {
    if (!target.startsWith("re:")) continue;
    const pattern = compilePattern(target.slice(3));
    size += pattern.size;
    if (size > MAX_PROGRAMS_SIZE) {
      throw new RecipeError(
        `There are too many patterns ("re:…") in one list: the first ${patterns.size + 1} take ${size} steps, of ${MAX_PROGRAMS_SIZE}. Use fewer, or smaller counts in { }.`,
      );
    }
    patterns.set(target, [pattern, value]);
  }
  const sorted = [...patterns].toSorted(([a], [b]) => (a < b ? -1 : Number(a > b))).map(([, found]) => found);
  const classes = LINEAR_CLASSES.find((name) => byTarget.has(name));
  const ofClass = classes === undefined ? null : (byTarget.get(classes) ?? null);
  const meter: Meter = { left: MAX_MATCHING_WORK };
  const known = new Map<string, Value | null>();
  const findPattern = (module: string) => {
    const name = moduleName(module);
    return sorted.find(([pattern]) => pattern.matches(name, meter))?.[1] ?? null;
  };
  const findNamed = (module: string): Value | null => {
    const exact = byTarget.get(module);
    if (exact !== undefined || sorted.length === 0) return exact ?? null;
    const found = known.get(module);
    if (found !== undefined) return found;
    const made = findPattern(module);
    known.set(module, made);
    return made;
  };
  return {
    findNamed,
    find: (module) => findNamed(module) ?? ofClass,
    has: (target) => byTarget.has(target),
  };
}
