// Sets of code points as Python's `re` has them for text: Unicode's letters, digits and spaces, and case by single letters.

import type { CodePointTest } from "./pattern-node.ts";

const WORD = /^[\p{L}\p{N}_]$/u;
const DIGIT = /^\p{Nd}$/u;
/** `str.isspace`: JavaScript's spaces without the byte order mark, and the separators of information. */
// oxlint-disable-next-line no-control-regex -- which Python takes for spaces
const SPACE = /^[\s\u001c-\u001f\u0085]$/u;

export const LINE_FEED = 10;

export function isWord(codePoint: number): boolean {
  return WORD.test(String.fromCodePoint(codePoint));
}

/** The set of an escape such as \d, or null for other letters. */
export function classSet(letter: string): CodePointTest | null {
  const lower = letter.toLowerCase();
  const test = lower === "w" ? isWord : lower === "d" ? isDigit : lower === "s" ? isSpace : null;
  if (!test) return null;
  return letter === lower ? test : (codePoint) => !test(codePoint);
}

function isDigit(codePoint: number): boolean {
  return DIGIT.test(String.fromCodePoint(codePoint));
}

function isSpace(codePoint: number): boolean {
  return codePoint !== 0xfeff && SPACE.test(String.fromCodePoint(codePoint));
}

export function single(codePoint: number, ignoreCase: boolean): CodePointTest {
  return range(codePoint, codePoint, ignoreCase);
}

export function range(first: number, last: number, ignoreCase: boolean): CodePointTest {
  const within = (codePoint: number) => codePoint >= first && codePoint <= last;
  return ignoreCase ? (codePoint) => within(codePoint) || otherCases(codePoint).some(within) : within;
}

/** The same letter in its other case. */
export function otherCases(codePoint: number): number[] {
  const text = String.fromCodePoint(codePoint);
  return [text.toLowerCase(), text.toUpperCase()]
    .filter((other) => other !== text && Array.from(other).length === 1)
    .map((other) => other.codePointAt(0) ?? codePoint);
}
