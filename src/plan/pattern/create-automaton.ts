// Runs a program over a name from its end to its beginning: at each place the instructions from which the rest of the name
// matches are known once those of the place after it are. Such a set is a state, made when it is first met and kept with
// its transitions, so that a name costs one table look-up a letter, and a new state the length of the program. There is no
// backtracking, whatever the pattern.

import { isWord, LINE_FEED } from "./code-point-sets.ts";
import type { Instruction, Program } from "./compile-program.ts";
import type { CodePointTest } from "./pattern-node.ts";

/** Counts work down; a new state costs as much as the program is long, a letter costs one. */
export interface Meter {
  left: number;
}

export interface Automaton {
  /** True if the program matches from the first code point on; the match may end anywhere. */
  matches(codePoints: readonly number[], meter: Meter): boolean;
}

/** A place in a name, as assertions see it. */
const AT_START = 1;
const AT_END = 2;
const AT_LAST_FEED = 4;
const AFTER_FEED = 8;
const BEFORE_FEED = 16;
const AFTER_WORD = 32;
const BEFORE_WORD = 64;
const FIRST_BEHIND = 128;
const EMPTY = AT_START | AT_END;
/** In place of a letter at the end. */
const NONE = -1;

interface State {
  /** For each instruction, 1 if the rest of the name matches from there on. */
  readonly holds: Uint8Array;
  /** The state one letter before this one, by kind of place, then by class of letter. */
  readonly before: State[][];
}

/** Cells of all states of a pattern that are kept; then it starts anew. */
const MAX_CELLS = 65_536;

export function createAutomaton(program: Program): Automaton {
  const { instructions, entry } = program;
  const classOf = letterClasses(instructions);
  const placeOf = placeReader(program);
  const asks = asksForLetters(program);
  const evaluate = evaluator(program);
  const most = Math.max(8, Math.floor(MAX_CELLS / instructions.length));
  const states = new Map<string, State>();
  /** Behind the last letter nothing holds yet. */
  let end = newState(new Uint8Array(instructions.length));
  const make = (after: State, codePoint: number, place: number): State => {
    const holds = evaluate(after.holds, codePoint, place);
    const key = String.fromCharCode(...holds);
    const known = states.get(key);
    if (known) return known;
    const state = newState(holds);
    states.set(key, state);
    return state;
  };
  return {
    matches(codePoints, meter) {
      if (states.size > most) {
        states.clear();
        end = newState(new Uint8Array(instructions.length));
      }
      let state = end;
      const { length } = codePoints;
      const isPlain = !asks && !codePoints.includes(LINE_FEED);
      let work = 0;
      for (let index = length; index >= 0; index--) {
        const codePoint = index < length ? (codePoints[index] ?? 0) : NONE;
        const inside = isPlain && index > 0 && index < length;
        const place = inside ? 0 : placeOf(codePoints, index, meter);
        const byClass = (state.before[place] ??= []);
        const letter = codePoint === NONE ? 0 : classOf(codePoint);
        const known = byClass[letter];
        work += known ? 1 : instructions.length + 1;
        state = known ?? (byClass[letter] = make(state, codePoint, place));
      }
      meter.left -= work;
      return state.holds[entry] === 1;
    },
  };
}

function newState(holds: Uint8Array): State {
  return { holds, before: [] };
}

/** Classes of letters that no set of the program tells apart, from 1. */
function letterClasses(instructions: readonly Instruction[]): (codePoint: number) => number {
  const tests = new Set<CodePointTest>();
  for (const instruction of instructions) if (instruction.op === "set") tests.add(instruction.test);
  const bySignature = new Map<string, number>();
  const classify = (codePoint: number) => {
    const signature = Array.from(tests, (test) => Number(test(codePoint))).join("");
    const made = bySignature.get(signature) ?? bySignature.size + 1;
    bySignature.set(signature, made);
    return made;
  };
  const known = new Map<number, number>();
  const ascii = Array.from({ length: 128 }, () => 0);
  return (codePoint) => {
    const found = codePoint < ascii.length ? ascii[codePoint] : known.get(codePoint);
    if (found) return found;
    const made = classify(codePoint);
    if (codePoint < ascii.length) ascii[codePoint] = made;
    else known.set(codePoint, made);
    return made;
  };
}

/** True if places between the ends differ for the program even in names without line feeds. */
function asksForLetters({ instructions, behinds }: Program): boolean {
  const words = new Set<string>(["boundary", "inside"]);
  return (
    behinds.length > 0 ||
    instructions.some((instruction) => instruction.op === "assertion" && words.has(instruction.what))
  );
}

/** What the program's assertions and looks behind ask about a place, as bits. */
function placeReader({ instructions, behinds }: Program) {
  const used = new Set<string>(
    instructions.map((instruction) => (instruction.op === "assertion" ? instruction.what : "")),
  );
  const lines = used.has("line-start") || used.has("line-end") || used.has("last");
  const words = used.has("boundary") || used.has("inside");
  const looks = behinds.map(({ width, program }) => ({ width, automaton: createAutomaton(program) }));
  return (codePoints: readonly number[], index: number, meter: Meter): number => {
    const { length } = codePoints;
    let place = (index === 0 ? AT_START : 0) | (index === length ? AT_END : 0);
    if (lines) {
      if (index > 0 && codePoints[index - 1] === LINE_FEED) place |= AFTER_FEED;
      if (index < length && codePoints[index] === LINE_FEED)
        place |= index === length - 1 ? AT_LAST_FEED | BEFORE_FEED : BEFORE_FEED;
    }
    if (words) {
      if (index > 0 && isWord(codePoints[index - 1] ?? 0)) place |= AFTER_WORD;
      if (index < length && isWord(codePoints[index] ?? 0)) place |= BEFORE_WORD;
    }
    for (const [bit, { width, automaton }] of looks.entries()) {
      const holds = index >= width && automaton.matches(codePoints.slice(index - width, index), meter);
      if (holds) place |= FIRST_BEHIND << bit;
    }
    return place;
  };
}

/** Instructions that hold at a place as soon as another one does, innermost look first. */
function evaluator({ instructions, depths }: Program) {
  const deepest = Math.max(0, ...depths);
  const levels = Array.from({ length: deepest + 1 }, (_, level) =>
    instructions.flatMap((_each, index) => (depths[index] === deepest - level ? [index] : [])),
  );
  const followers = followersOf(instructions);
  return (after: Uint8Array, codePoint: number, place: number): Uint8Array => {
    const holds = new Uint8Array(instructions.length);
    for (const level of levels) {
      const waiting: number[] = [];
      for (const index of level) {
        if (holdsByItself(instructions[index], after, codePoint)) waiting.push(index);
      }
      for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
        if (holds[index] === 1) continue;
        holds[index] = 1;
        for (const follower of followers[index] ?? []) {
          if (holds[follower] === 0 && passes(instructions[follower], holds, place)) waiting.push(follower);
        }
      }
    }
    return holds;
  };
}

/** For each instruction those that step to it without a letter. */
function followersOf(instructions: readonly Instruction[]): number[][] {
  const followers = instructions.map((): number[] => []);
  for (const [index, instruction] of instructions.entries()) {
    if (instruction.op === "match" || instruction.op === "set") continue;
    followers[instruction.next]?.push(index);
    if (instruction.op === "split" && instruction.other !== instruction.next) {
      followers[instruction.other]?.push(index);
    }
  }
  return followers;
}

function holdsByItself(instruction: Instruction | undefined, after: Uint8Array, codePoint: number): boolean {
  if (instruction?.op === "match") return true;
  return instruction?.op === "set" && after[instruction.next] === 1 && instruction.test(codePoint);
}

/** True if an instruction, whose next one holds, holds too. */
function passes(instruction: Instruction | undefined, holds: Uint8Array, place: number): boolean {
  if (instruction?.op === "assertion") return isTrueAt(instruction.what, place);
  if (instruction?.op === "ahead") return (holds[instruction.body] === 1) !== instruction.negative;
  if (instruction?.op === "behind") {
    return ((place & (FIRST_BEHIND << instruction.index)) !== 0) !== instruction.negative;
  }
  return true;
}

const TRUE_AT: Readonly<Record<string, (place: number) => boolean>> = {
  start: (place) => (place & AT_START) !== 0,
  end: (place) => (place & AT_END) !== 0,
  last: (place) => (place & (AT_END | AT_LAST_FEED)) !== 0,
  "line-start": (place) => (place & (AT_START | AFTER_FEED)) !== 0,
  "line-end": (place) => (place & (AT_END | BEFORE_FEED)) !== 0,
  boundary: (place) => ((place & AFTER_WORD) !== 0) !== ((place & BEFORE_WORD) !== 0),
  // Not in an empty text, as Python up to 3.13 has it.
  inside: (place) =>
    ((place & AFTER_WORD) !== 0) === ((place & BEFORE_WORD) !== 0) && (place & EMPTY) !== EMPTY,
};

function isTrueAt(what: string, place: number): boolean {
  return TRUE_AT[what]?.(place) ?? false;
}
