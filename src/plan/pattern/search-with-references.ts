// Patterns that refer back to what a group matched are not regular: they are searched by trying, as every engine does, but
// with an end.

import { isWord, LINE_FEED, otherCases } from "./code-point-sets.ts";
import type { Assertion, ParsedPattern, PatternNode } from "./pattern-node.ts";

/** Trials for one name. A pattern that repeats three things without bound in front of a reference stays below. */
const MAX_TRIALS = 200_000;

interface Search {
  readonly codePoints: readonly number[];
  readonly groups: [number, number][];
  trials: number;
}

type Continue = (position: number) => boolean;

/** True or false, or null if it was given up. */
export function searchWithReferences(
  { node, groups }: ParsedPattern,
  codePoints: readonly number[],
): boolean | null {
  const search: Search = {
    codePoints,
    groups: Array.from({ length: groups + 1 }, (): [number, number] => [-1, -1]),
    trials: MAX_TRIALS,
  };
  const found = tryNode(search, node, 0, () => true);
  return search.trials > 0 ? found : null;
}

function tryNode(search: Search, node: PatternNode, position: number, then: Continue): boolean {
  if (--search.trials <= 0) return false;
  const { codePoints } = search;
  switch (node.kind) {
    case "set": {
      const codePoint = codePoints[position];
      return codePoint !== undefined && node.test(codePoint) && then(position + 1);
    }
    case "assertion":
      return isTrueAt(node.what, codePoints, position) && then(position);
    case "sequence":
      return trySequence(search, node.parts, 0, position, then);
    case "choice":
      return node.options.some((option) => tryNode(search, option, position, then));
    case "repeat":
      return tryRepeat(search, node, 0, position, then);
    case "look":
      return tryLook(search, node, position) !== node.negative && then(position);
    case "group":
      return tryGroup(search, node, position, then);
    case "reference":
      return tryReference(search, node, position, then);
  }
}

function trySequence(
  search: Search,
  parts: readonly PatternNode[],
  index: number,
  position: number,
  then: Continue,
): boolean {
  const part = parts[index];
  if (!part) return then(position);
  return tryNode(search, part, position, (end) => trySequence(search, parts, index + 1, end, then));
}

type Kind<Name extends PatternNode["kind"]> = Extract<PatternNode, { kind: Name }>;

function tryRepeat(
  search: Search,
  node: Kind<"repeat">,
  done: number,
  position: number,
  then: Continue,
): boolean {
  const again = () =>
    done < node.most &&
    tryNode(
      search,
      node.body,
      position,
      // A round that matched nothing could do so for ever: it stands for all that are still due.
      (end) => (end > position ? tryRepeat(search, node, done + 1, end, then) : then(end)),
    );
  if (done < node.least) return again();
  return node.lazy ? then(position) || again() : again() || then(position);
}

function tryLook(search: Search, { ahead, body }: Kind<"look">, position: number): boolean {
  if (ahead) return tryNode(search, body, position, () => true);
  for (let start = position; start >= 0; start--) {
    if (tryNode(search, body, start, (end) => end === position)) return true;
  }
  return false;
}

function tryGroup(search: Search, { index, body }: Kind<"group">, position: number, then: Continue): boolean {
  const before = search.groups[index] ?? [-1, -1];
  const found = tryNode(search, body, position, (end) => {
    search.groups[index] = [position, end];
    return then(end);
  });
  if (!found) search.groups[index] = before;
  return found;
}

function tryReference(
  { codePoints, groups }: Search,
  { index, ignoreCase }: Kind<"reference">,
  position: number,
  then: Continue,
): boolean {
  const [start, end] = groups[index] ?? [-1, -1];
  if (start < 0) return false;
  for (let offset = 0; offset < end - start; offset++) {
    const [a, b] = [codePoints[start + offset] ?? -1, codePoints[position + offset] ?? -2];
    if (a !== b && !(ignoreCase && a >= 0 && otherCases(a).includes(b))) return false;
  }
  return then(position + end - start);
}

function isTrueAt(what: Assertion, codePoints: readonly number[], position: number): boolean {
  const { length } = codePoints;
  const isWordAt = (index: number) => index >= 0 && index < length && isWord(codePoints[index] ?? 0);
  const boundary = isWordAt(position - 1) !== isWordAt(position);
  switch (what) {
    case "start":
      return position === 0;
    case "end":
      return position === length;
    case "last":
      return position === length || (position === length - 1 && codePoints[position] === LINE_FEED);
    case "line-start":
      return position === 0 || codePoints[position - 1] === LINE_FEED;
    case "line-end":
      return position === length || codePoints[position] === LINE_FEED;
    case "boundary":
      return boundary;
    case "inside":
      return !boundary && length > 0;
  }
}
