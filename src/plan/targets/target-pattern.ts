// Regular expressions of recipes and of configurations: Python's, matched from the start of a module's name (`re.match`).
// They come from strangers, so they do not run in JavaScript's engine, which some of them keep busy for ever: an automaton
// takes a time that grows with the length of the name alone. What no automaton can do is searched with an end; what is left
// of Python's syntax (atomic groups, possessive repeats, conditions) is refused.

import { RecipeError } from "../../errors.ts";
import { compileProgram } from "../pattern/compile-program.ts";
import { createAutomaton, type Meter } from "../pattern/create-automaton.ts";
import { parsePattern, PatternSyntaxError } from "../pattern/parse-pattern.ts";
import type { ParsedPattern } from "../pattern/pattern-node.ts";
import { searchWithReferences } from "../pattern/search-with-references.ts";

const MAX_PATTERN_LENGTH = 500;
/** Longer names than any model has; patterns do not match them. */
const MAX_NAME_LENGTH = 256;
/** What a pattern may cost on all names of a model: seconds, where an honest one takes milliseconds. */
export const MAX_MATCHING_WORK = 100_000_000;
/** What a trial of a search costs in place of a step of an automaton. */
const SEARCH_WORK = 20_000;
/** Instructions of all patterns that are kept, or stand in one list: each takes a few hundred bytes. */
export const MAX_PROGRAMS_SIZE = 50_000;

/** The code points of a module's name; none if it is longer than any model's. */
export type ModuleName = readonly number[] | null;

export interface TargetPattern {
  /** Instructions that the pattern was compiled to. */
  readonly size: number;
  /**
   * True if the pattern matches from the start of the name.
   * @throws RecipeError if the meter runs out, or a search is given up.
   */
  matches(name: ModuleName, meter: Meter): boolean;
}

const compiled = new Map<string, TargetPattern>();
let compiledSize = 0;

/**
 * True if the pattern matches from the start of the name.
 * @throws RecipeError as `compilePattern` does.
 */
export function matchesFromStart(pattern: string, name: string): boolean {
  return compilePattern(pattern).matches(moduleName(name), { left: MAX_MATCHING_WORK });
}

export function moduleName(name: string): ModuleName {
  if (name.length > MAX_NAME_LENGTH) return null;
  const codePoints: number[] = [];
  for (let index = 0; index < name.length; index++) {
    const codePoint = name.codePointAt(index) ?? 0;
    codePoints.push(codePoint);
    if (codePoint > 0xffff) index++;
  }
  return codePoints;
}

/**
 * Parses and compiles a pattern.
 * @throws RecipeError with the reason, if it cannot be run here.
 */
export function compilePattern(pattern: string): TargetPattern {
  const known = compiled.get(pattern);
  if (known) return known;
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new RecipeError(
      `The pattern "re:${pattern.slice(0, 40)}…" has ${pattern.length} characters; at most ${MAX_PATTERN_LENGTH} are taken.`,
    );
  }
  const made = makePattern(pattern);
  if (compiledSize + made.size > MAX_PROGRAMS_SIZE) {
    compiled.clear();
    compiledSize = 0;
  }
  compiled.set(pattern, made);
  compiledSize += made.size;
  return made;
}

function makePattern(pattern: string): TargetPattern {
  try {
    const parsed = parsePattern(pattern);
    if (parsed.hasReferences) return searched(pattern, parsed);
    const program = compileProgram(parsed.node);
    const automaton = createAutomaton(program);
    return {
      size: program.instructions.length,
      matches(name, meter) {
        const found = name !== null && automaton.matches(name, meter);
        checkMeter(pattern, meter);
        return found;
      },
    };
  } catch (cause) {
    if (!(cause instanceof PatternSyntaxError)) throw cause;
    throw new RecipeError(`"re:${pattern}" is not a regular expression that can be used: ${cause.message}.`, {
      cause,
    });
  }
}

function searched(pattern: string, parsed: ParsedPattern): TargetPattern {
  return {
    size: pattern.length,
    matches(name, meter) {
      meter.left -= SEARCH_WORK;
      checkMeter(pattern, meter);
      const found = name !== null && searchWithReferences(parsed, name);
      if (found !== null) return found;
      throw new RecipeError(
        `"re:${pattern}" refers back to one of its groups and takes too long to match. Write out what the group matches, instead of (?P=…) or a number.`,
      );
    },
  };
}

function checkMeter(pattern: string, { left }: Meter): void {
  if (left > 0) return;
  throw new RecipeError(
    `Matching all modules of this model takes too long, with "re:${pattern}" and the patterns beside it. Use fewer patterns, or simpler ones.`,
  );
}
