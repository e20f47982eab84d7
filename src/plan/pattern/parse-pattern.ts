// The syntax of Python's `re`, as far as it says something that can be matched in linear time (`sre_parse`).

import { classSet, LINE_FEED, otherCases, range, single } from "./code-point-sets.ts";
import { type Assertion, fixedWidth, type ParsedPattern, type PatternNode } from "./pattern-node.ts";
import { createReader, type PatternReader, readEscapedCodePoint } from "./pattern-reader.ts";

/** Why a pattern cannot be used, as the end of a sentence. */
export class PatternSyntaxError extends Error {}

interface Flags {
  readonly ignoreCase: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
}

interface Parsing {
  readonly reader: PatternReader;
  readonly names: Map<string, number>;
  groups: number;
  readonly closed: Set<number>;
  hasReferences: boolean;
  /** Inside of a look-behind, where neither looks nor assertions nor references are taken. */
  behind: boolean;
}

/** A repeat with its bounds, and whether it is lazy or possessive. What else begins with a brace is a letter. */
const REPEAT = /([*+?]|\{(?=[\d,])(\d*)(?:(,)(\d*))?\})([?+]?)/y;

/** @throws PatternSyntaxError */
export function parsePattern(text: string): ParsedPattern {
  const reader = createReader(text);
  const leading = reader.take(/\(\?([a-zA-Z]+)\)/y)?.[1] ?? "";
  const flags = withFlags({ ignoreCase: false, multiline: false, dotAll: false }, leading, true);
  const parsing: Parsing = {
    reader,
    names: new Map(),
    groups: 0,
    closed: new Set(),
    hasReferences: false,
    behind: false,
  };
  const node = parseChoice(parsing, flags);
  if (!reader.atEnd()) throw new PatternSyntaxError('a ")" closes nothing');
  return { node, groups: parsing.groups, hasReferences: parsing.hasReferences };
}

function withFlags(flags: Flags, letters: string, value: boolean): Flags {
  const unknown = /[^ims]/.exec(letters);
  if (unknown) {
    throw new PatternSyntaxError(`it has the flag ${unknown[0]}; only i, m and s can be used here`);
  }
  return {
    ignoreCase: letters.includes("i") ? value : flags.ignoreCase,
    multiline: letters.includes("m") ? value : flags.multiline,
    dotAll: letters.includes("s") ? value : flags.dotAll,
  };
}

function parseChoice(parsing: Parsing, flags: Flags): PatternNode {
  const options = [parseSequence(parsing, flags)];
  while (parsing.reader.take(/\|/y)) options.push(parseSequence(parsing, flags));
  const [only] = options;
  return only && options.length === 1 ? only : { kind: "choice", options };
}

function parseSequence(parsing: Parsing, flags: Flags): PatternNode {
  const { reader } = parsing;
  const parts: PatternNode[] = [];
  while (!reader.atEnd() && !reader.sees(/[|)]/y)) {
    if (skipComments(reader)) continue;
    parts.push(parseRepeats(parsing, parseItem(parsing, flags)));
  }
  return { kind: "sequence", parts };
}

function skipComments(reader: PatternReader): boolean {
  let found = false;
  while (reader.take(/\(\?#[^)]*\)/y)) found = true;
  return found;
}

function parseRepeats({ reader }: Parsing, body: PatternNode): PatternNode {
  skipComments(reader);
  const found = reader.take(REPEAT);
  if (!found) return body;
  const [, sign = "", low = "", comma, high = "", suffix] = found;
  if (body.kind === "assertion") throw new PatternSyntaxError(`there is nothing to repeat before ${sign}`);
  if (suffix === "+") throw new PatternSyntaxError("possessive repeats such as a++ cannot be used here");
  if (reader.sees(REPEAT)) {
    throw new PatternSyntaxError(`a repeat follows the repeat ${sign}`);
  }
  const least = sign === "+" ? 1 : Number(low);
  const unbounded = sign === "*" || sign === "+" || (comma !== undefined && high === "");
  const most = unbounded ? Infinity : sign === "?" ? 1 : Number(comma === undefined ? low : high);
  if (most < least) throw new PatternSyntaxError(`${sign} asks for more repeats than it allows`);
  return { kind: "repeat", body, least, most, lazy: suffix === "?" };
}

function parseItem(parsing: Parsing, flags: Flags): PatternNode {
  const { reader } = parsing;
  if (reader.sees(/\(/y)) return parseGroup(parsing, flags);
  if (reader.sees(/\[/y)) return parseSet(reader, flags);
  if (reader.sees(/\\/y)) return parseEscape(parsing, flags);
  if (reader.sees(REPEAT))
    throw new PatternSyntaxError(`there is nothing to repeat before ${reader.rest(1)}`);
  const found = reader.next();
  if (found === "^") return assertion(parsing, flags.multiline ? "line-start" : "start");
  if (found === "$") return assertion(parsing, flags.multiline ? "line-end" : "last");
  if (found === ".") {
    return { kind: "set", test: (codePoint) => flags.dotAll || codePoint !== LINE_FEED };
  }
  return { kind: "set", test: single(found.codePointAt(0) ?? 0, flags.ignoreCase) };
}

function assertion({ behind }: Parsing, what: Assertion): PatternNode {
  if (behind) throw new PatternSyntaxError("a look-behind can hold letters, sets and groups only");
  return { kind: "assertion", what };
}

function parseGroup(parsing: Parsing, flags: Flags): PatternNode {
  const { reader } = parsing;
  reader.next();
  const look = reader.take(/\?(<?)([=!])/y);
  if (look) return parseLook(parsing, flags, look[1] === "", look[2] === "!");
  const scoped = reader.take(/\?([a-zA-Z]*)(?:-([a-zA-Z]+))?:/y);
  if (scoped) {
    const [, on = "", off = ""] = scoped;
    return closed(parsing, parseChoice(parsing, withFlags(withFlags(flags, on, true), off, false)));
  }
  const reference = reader.take(/\?P=([^)]*)\)/y);
  if (reference) return referTo(parsing, flags, parsing.names.get(reference[1] ?? ""), reference[1] ?? "");
  const name = reader.take(/\?P<([\p{L}_][\p{L}\p{N}_]*)>/uy)?.[1];
  if (name === undefined && reader.sees(/\?/y)) {
    throw new PatternSyntaxError(`groups that begin with (${reader.rest(3)} cannot be used here`);
  }
  const index = ++parsing.groups;
  if (name !== undefined) {
    if (parsing.names.has(name)) throw new PatternSyntaxError(`two groups have the name ${name}`);
    parsing.names.set(name, index);
  }
  const body = closed(parsing, parseChoice(parsing, flags));
  parsing.closed.add(index);
  return { kind: "group", index, body };
}

function closed({ reader }: Parsing, node: PatternNode): PatternNode {
  if (!reader.take(/\)/y)) throw new PatternSyntaxError('a "(" is not closed');
  return node;
}

function parseLook(parsing: Parsing, flags: Flags, ahead: boolean, negative: boolean): PatternNode {
  if (parsing.behind) throw new PatternSyntaxError("a look-behind can hold letters, sets and groups only");
  parsing.behind = !ahead;
  const body = closed(parsing, parseChoice(parsing, flags));
  parsing.behind = false;
  if (!ahead && fixedWidth(body) === null) {
    throw new PatternSyntaxError("a look-behind must have one length");
  }
  return { kind: "look", ahead, negative, body };
}

function referTo(parsing: Parsing, flags: Flags, index: number | undefined, name: string): PatternNode {
  if (index === undefined || !parsing.closed.has(index)) {
    throw new PatternSyntaxError(`it refers to the group ${name}, which does not stand before`);
  }
  if (parsing.behind) throw new PatternSyntaxError("a look-behind can hold letters, sets and groups only");
  parsing.hasReferences = true;
  return { kind: "reference", index, ignoreCase: flags.ignoreCase };
}

function parseEscape(parsing: Parsing, flags: Flags): PatternNode {
  const { reader } = parsing;
  const number = reader.take(/\\([1-9]\d?)(?![0-7])/y)?.[1];
  if (number !== undefined) return referTo(parsing, flags, Number(number), number);
  const place = reader.take(/\\([AZbB])/y)?.[1];
  if (place === "A") return assertion(parsing, "start");
  if (place === "Z") return assertion(parsing, "end");
  if (place) return assertion(parsing, place === "b" ? "boundary" : "inside");
  const letter = reader.take(/\\([wWdDsS])/y)?.[1];
  const test = letter === undefined ? null : classSet(letter);
  if (test) return { kind: "set", test };
  return { kind: "set", test: single(escaped(reader), flags.ignoreCase) };
}

function escaped(reader: PatternReader): number {
  const codePoint = readEscapedCodePoint(reader);
  if (codePoint !== null) return codePoint;
  throw new PatternSyntaxError(`${reader.rest(2)} is no escape that can be used here`);
}

function parseSet(reader: PatternReader, flags: Flags): PatternNode {
  reader.next();
  const negated = reader.take(/\^/y) !== null;
  const tests: ((codePoint: number) => boolean)[] = [];
  for (let first = true; first || !reader.take(/\]/y); first = false) {
    if (reader.atEnd()) throw new PatternSyntaxError('a "[" is not closed');
    const from = setMember(reader);
    if (!reader.sees(/-[^\]]/y)) {
      tests.push(typeof from === "number" ? single(from, flags.ignoreCase) : from);
      continue;
    }
    reader.next();
    const to = setMember(reader);
    if (typeof from !== "number" || typeof to !== "number" || to < from) {
      throw new PatternSyntaxError("a range in [ ] does not go from a letter to a later one");
    }
    tests.push(range(from, to, flags.ignoreCase));
  }
  const holds = (codePoint: number) => tests.some((test) => test(codePoint));
  // What is left out, is left out in both cases.
  const isIn = negated && flags.ignoreCase ? inAnyCase(holds) : holds;
  return { kind: "set", test: (codePoint) => isIn(codePoint) !== negated };
}

function inAnyCase(test: (codePoint: number) => boolean) {
  return (codePoint: number) => test(codePoint) || otherCases(codePoint).some(test);
}

function setMember(reader: PatternReader): number | ((codePoint: number) => boolean) {
  if (!reader.sees(/\\/y)) return reader.next().codePointAt(0) ?? 0;
  const letter = reader.take(/\\([wWdDsS])/y)?.[1];
  const test = letter === undefined ? null : classSet(letter);
  if (test) return test;
  return reader.take(/\\b/y) ? 8 : escaped(reader);
}
