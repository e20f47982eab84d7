// What a regular expression is made of, once its syntax is read.

/** True for the code points that a set takes. */
export type CodePointTest = (codePoint: number) => boolean;

/** Conditions on a place in the name. "last" is the end, or the line feed that ends the name. */
export type Assertion = "start" | "end" | "last" | "line-start" | "line-end" | "boundary" | "inside";

export type PatternNode =
  | { readonly kind: "set"; readonly test: CodePointTest }
  | { readonly kind: "assertion"; readonly what: Assertion }
  | { readonly kind: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly options: readonly PatternNode[] }
  | {
      readonly kind: "repeat";
      readonly body: PatternNode;
      readonly least: number;
      /** Infinity if there is no bound. */
      readonly most: number;
      readonly lazy: boolean;
    }
  | { readonly kind: "look"; readonly ahead: boolean; readonly negative: boolean; readonly body: PatternNode }
  | { readonly kind: "group"; readonly index: number; readonly body: PatternNode }
  | { readonly kind: "reference"; readonly index: number; readonly ignoreCase: boolean };

/** A pattern as it was read. */
export interface ParsedPattern {
  readonly node: PatternNode;
  /** Groups that capture; they are numbered from 1. */
  readonly groups: number;
  readonly hasReferences: boolean;
}

/** Length of everything that a node can match, or null if it varies (`sre_parse.SubPattern.getwidth`). */
export function fixedWidth(node: PatternNode): number | null {
  switch (node.kind) {
    case "set":
      return 1;
    case "assertion":
    case "look":
      return 0;
    case "group":
      return fixedWidth(node.body);
    case "reference":
      return null;
    case "sequence":
      return node.parts.reduce((sum: number | null, part) => added(sum, fixedWidth(part)), 0);
    case "choice": {
      const [first = 0, ...others] = node.options.map(fixedWidth);
      return others.every((width) => width === first) ? first : null;
    }
    case "repeat": {
      const width = fixedWidth(node.body);
      if (width === 0) return 0;
      return width !== null && node.least === node.most ? width * node.least : null;
    }
  }
}

function added(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a + b;
}
