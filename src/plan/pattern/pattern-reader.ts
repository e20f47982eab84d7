// A place in the text of a pattern, that moves forwards.

export interface PatternReader {
  atEnd(): boolean;
  /** True if the expression, which is sticky, matches here. */
  sees(expression: RegExp): boolean;
  /** What the expression, which is sticky, matches here, stepped over; null if it does not. */
  take(expression: RegExp): RegExpExecArray | null;
  /** The next code point, stepped over. */
  next(): string;
  /** Up to so many units of the text from here on, for messages. */
  rest(units: number): string;
}

export function createReader(text: string): PatternReader {
  let position = 0;
  const at = (expression: RegExp) => {
    expression.lastIndex = position;
    return expression.exec(text);
  };
  return {
    atEnd: () => position >= text.length,
    sees: (expression) => at(expression) !== null,
    take(expression) {
      const found = at(expression);
      if (found) position += found[0].length;
      return found;
    },
    next() {
      const found = String.fromCodePoint(text.codePointAt(position) ?? 0);
      position += found.length;
      return found;
    },
    rest: (units) => text.slice(position, position + units),
  };
}

const CONTROLS: Readonly<Record<string, number>> = { a: 7, t: 9, n: 10, v: 11, f: 12, r: 13 };

/** The code point that an escape means, stepped over; null if it is no letter's, as Python's `re` has it. */
export function readEscapedCodePoint(reader: PatternReader): number | null {
  const control = reader.take(/\\([atnvfr])/y)?.[1];
  if (control !== undefined) return CONTROLS[control] ?? null;
  const [, x, u, U] =
    reader.take(/\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U(00(?:0[\da-fA-F]|10)[\da-fA-F]{4}))/y) ?? [];
  const hexadecimal = x ?? u ?? U;
  if (hexadecimal !== undefined) return Number.parseInt(hexadecimal, 16);
  const octal = reader.take(/\\(0[0-7]{0,2}|[1-3][0-7]{2})/y)?.[1];
  if (octal !== undefined) return Number.parseInt(octal, 8);
  return reader.take(/\\([^a-zA-Z0-9])/suy)?.[1]?.codePointAt(0) ?? null;
}
