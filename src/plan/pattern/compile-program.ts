// A pattern as the instructions of an alternating automaton. Each says what must hold of the rest of the name from a place
// on; a look ahead is a program of its own that must, or must not, hold there too.

import { PatternSyntaxError } from "./parse-pattern.ts";
import { type Assertion, type CodePointTest, fixedWidth, type PatternNode } from "./pattern-node.ts";

/** Patterns of 500 characters need fewer, unless they count high. */
const MAX_INSTRUCTIONS = 4096;
/** Looks behind are bits of a number, beside those of the assertions. */
const MAX_LOOKS_BEHIND = 8;
const MAX_BEHIND_WIDTH = 64;

export type Instruction =
  | { readonly op: "match" }
  | { readonly op: "set"; readonly test: CodePointTest; readonly next: number }
  | { readonly op: "split"; next: number; other: number }
  | { readonly op: "assertion"; readonly what: Assertion; readonly next: number }
  | { readonly op: "ahead"; readonly negative: boolean; readonly body: number; readonly next: number }
  | { readonly op: "behind"; readonly negative: boolean; readonly index: number; readonly next: number };

export interface LookBehind {
  readonly width: number;
  readonly program: Program;
}

export interface Program {
  readonly instructions: readonly Instruction[];
  /** How many looks ahead an instruction is inside of. */
  readonly depths: readonly number[];
  readonly entry: number;
  readonly behinds: readonly LookBehind[];
}

interface Compiling {
  readonly instructions: Instruction[];
  readonly depths: number[];
  readonly behinds: LookBehind[];
  depth: number;
}

/** @throws PatternSyntaxError if the pattern counts so high that it becomes too large. */
export function compileProgram(node: PatternNode): Program {
  const compiling: Compiling = { instructions: [], depths: [], behinds: [], depth: 0 };
  const entry = compile(compiling, node, add(compiling, { op: "match" }));
  const { instructions, depths, behinds } = compiling;
  return { instructions, depths, entry, behinds };
}

function add({ instructions, depths, depth }: Compiling, instruction: Instruction): number {
  if (instructions.length >= MAX_INSTRUCTIONS) {
    throw new PatternSyntaxError(
      `it counts so high that it becomes larger than ${MAX_INSTRUCTIONS} steps; write * or + instead of large counts`,
    );
  }
  depths.push(depth);
  return instructions.push(instruction) - 1;
}

/** Adds what matches the node and then goes on at `next`; returns where it begins. */
function compile(compiling: Compiling, node: PatternNode, next: number): number {
  switch (node.kind) {
    case "set":
      return add(compiling, { op: "set", test: node.test, next });
    case "assertion":
      return add(compiling, { op: "assertion", what: node.what, next });
    case "group":
      return compile(compiling, node.body, next);
    case "sequence":
      return node.parts.reduceRight((after, part) => compile(compiling, part, after), next);
    case "choice":
      return node.options
        .map((option) => compile(compiling, option, next))
        .reduce((other, option) => add(compiling, { op: "split", next: option, other }));
    case "repeat":
      return compileRepeat(compiling, node, next);
    case "look":
      return node.ahead ? compileAhead(compiling, node, next) : compileBehind(compiling, node, next);
    case "reference":
      throw new Error("Defect: what refers to groups is searched, not compiled");
  }
}

type Repeat = Extract<PatternNode, { kind: "repeat" }>;
type Look = Extract<PatternNode, { kind: "look" }>;

function compileRepeat(compiling: Compiling, { body, least, most }: Repeat, next: number): number {
  let after = next;
  if (most === Infinity) {
    const loop: Instruction = { op: "split", next, other: next };
    after = add(compiling, loop);
    loop.next = compile(compiling, body, after);
  } else {
    for (let count = least; count < most; count++) {
      after = add(compiling, { op: "split", next: compile(compiling, body, after), other: next });
    }
  }
  for (let count = 0; count < least; count++) {
    const before = compiling.instructions.length;
    after = compile(compiling, body, after);
    // A body of nothing, a billion times.
    if (compiling.instructions.length === before) break;
  }
  return after;
}

function compileAhead(compiling: Compiling, { body, negative }: Look, next: number): number {
  compiling.depth++;
  const entry = compile(compiling, body, add(compiling, { op: "match" }));
  compiling.depth--;
  return add(compiling, { op: "ahead", negative, body: entry, next });
}

function compileBehind(compiling: Compiling, { body, negative }: Look, next: number): number {
  const width = fixedWidth(body) ?? Infinity;
  const index = compiling.behinds.length;
  if (width > MAX_BEHIND_WIDTH || index >= MAX_LOOKS_BEHIND) {
    throw new PatternSyntaxError(
      `at most ${MAX_LOOKS_BEHIND} looks behind of at most ${MAX_BEHIND_WIDTH} letters can be used here`,
    );
  }
  compiling.behinds.push({ width, program: compileProgram(body) });
  return add(compiling, { op: "behind", negative, index, next });
}
