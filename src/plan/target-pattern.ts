// Regular expressions of recipes. They are Python's, matched from the start of a module's name (`re.match`), and run here
// as JavaScript's; what the two write differently is translated, what JavaScript lacks is refused.
//
// A pattern could make the engine try for hours, and nothing can stop it from outside. So its length, the number of its
// unbounded repeats and the names that it sees are bounded, and a repeat of a repeat is refused.

import { RecipeError } from "../errors.ts";

const MAX_PATTERN_LENGTH = 500;
const MAX_UNBOUNDED_REPEATS = 5;
/** Longer names than any model has; patterns do not match them. */
const MAX_NAME_LENGTH = 256;

const compiled = new Map<string, RegExp>();

/** True if the pattern matches from the start of the name. */
export function matchesFromStart(pattern: string, name: string): boolean {
  if (name.length > MAX_NAME_LENGTH) return false;
  const expression = compilePattern(pattern);
  expression.lastIndex = 0;
  return expression.test(name);
}

/**
 * Translates and checks a pattern.
 * @throws RecipeError with the reason, if it cannot be run here or might never end.
 */
export function compilePattern(pattern: string): RegExp {
  const known = compiled.get(pattern);
  if (known) return known;
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new RecipeError(
      `The pattern "re:${pattern.slice(0, 40)}…" has ${pattern.length} characters; at most ${MAX_PATTERN_LENGTH} are taken.`,
    );
  }
  const { source, flags } = translate(pattern);
  let expression: RegExp;
  try {
    expression = new RegExp(source, `y${flags}`);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.replace(/^.*: /, "") : "it is malformed";
    throw new RecipeError(`"re:${pattern}" is not a regular expression that can be used: ${reason}.`, {
      cause,
    });
  }
  checkRepeats(pattern);
  compiled.set(pattern, expression);
  return expression;
}

/** Python's own spellings to JavaScript's: leading flags, named groups, and the ends of a string. */
function translate(pattern: string): { source: string; flags: string } {
  const inline = /^\(\?([a-zA-Z]+)\)/.exec(pattern);
  const flags = inline?.[1] ?? "";
  if (/[^ims]/.test(flags)) {
    throw new RecipeError(`"re:${pattern}" has the flags (?${flags}); only i, m and s can be used here.`);
  }
  const source = pattern
    .slice(inline?.[0].length ?? 0)
    .replace(/\\.|\(\?P<|\(\?P=(\w+)\)/g, (found, name: string | undefined) => {
      if (found === "(?P<") return "(?<";
      if (name !== undefined) return `\\k<${name}>`;
      if (found === "\\A") return "^";
      return found === "\\Z" ? "$" : found;
    });
  return { source, flags: [...new Set(flags)].join("") };
}

/** Escapes, sets, the ends of groups with their repeat, and repeats: what decides how long a pattern can take. */
const TOKEN = /\\.|\[(?:\\.|[^\]\\])*\]|\((?:\?[:=!])?|\)(?:[*+]|\{\d*,\d*\})?|[*+]|\{\d*,\d*\}/gs;
/** {n,m} counts as a repeat without bound from this m on. */
const LARGE_COUNT = 10;

/** Refuses patterns whose matching can take longer than the names are worth. */
function checkRepeats(pattern: string): void {
  // What each open group holds: whether an unbounded repeat is in it.
  const groups: boolean[] = [false];
  let repeats = 0;
  for (const [token] of pattern.matchAll(TOKEN)) {
    if (token.startsWith("\\") || token.startsWith("[")) continue;
    if (token.startsWith("(")) {
      groups.push(false);
      continue;
    }
    const closes = token.startsWith(")");
    const repeated = isUnbounded(token);
    const inner = closes ? (groups.pop() ?? false) : false;
    if (repeated && inner) {
      throw new RecipeError(
        `"re:${pattern}" repeats a group that repeats something itself, which can take forever to match. Write it without the inner or the outer * or +.`,
      );
    }
    if (repeated) repeats++;
    if (repeated || inner) groups[groups.length - 1] = true;
  }
  if (repeats > MAX_UNBOUNDED_REPEATS) {
    throw new RecipeError(
      `"re:${pattern}" has ${repeats} repeats (* or +); at most ${MAX_UNBOUNDED_REPEATS} are taken, because more can take forever to match.`,
    );
  }
}

function isUnbounded(token: string): boolean {
  const counted = /\{\d*,(\d*)\}$/.exec(token);
  if (counted) return counted[1] === "" || Number(counted[1]) >= LARGE_COUNT;
  return /[*+]$/.test(token);
}
