// YAML from outside, bounded before it is parsed: its parser compares each key with all others of its mapping, walks by recursion,
// and gives every complaint a place of its own.

import { CST, Lexer, LineCounter, parseDocument, Parser } from "yaml";

/** Two thousand lines of a list. */
export const MAX_YAML_TOKENS = 10_000;
/** What people write nests a dozen levels. */
export const MAX_YAML_DEPTH = 50;
/** An alias stands for what it names, and what that names. */
export const MAX_ALIASES = 50;

/** True if the text has more words and signs than `MAX_YAML_TOKENS`. */
export function hasTooManyTokens(text: string): boolean {
  let tokens = 0;
  for (const token of new Lexer().lex(text)) {
    // Each escape in a text can be wrong by itself.
    tokens += token.startsWith('"') ? token.split("\\").length : 1;
    if (tokens > MAX_YAML_TOKENS) return true;
  }
  return false;
}

/** The offset of the first value that nests deeper than `MAX_YAML_DEPTH`, or null. Tokens are parsed by a loop. */
export function tooDeepAt(text: string, lines = new LineCounter()): number | null {
  for (const root of new Parser(lines.addNewLine).parse(text)) {
    const waiting: Nested[] = [{ token: root, depth: 0 }];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      if (next.depth > MAX_YAML_DEPTH) return next.token.offset;
      for (const token of innerTokens(next.token)) waiting.push({ token, depth: next.depth + 1 });
    }
  }
  return null;
}

interface Nested {
  readonly token: CST.Token;
  readonly depth: number;
}

function innerTokens(token: CST.Token): CST.Token[] {
  if (token.type === "document") return token.value ? [token.value] : [];
  if (!CST.isCollection(token)) return [];
  return token.items.flatMap(({ key, value }) => [key, value].filter((each) => !!each));
}

/** The fields of a mapping, or null for text that is none, is damaged, or is more than anybody writes. */
export function readYamlFields(text: string): Record<string, unknown> | null {
  if (hasTooManyTokens(text) || tooDeepAt(text) !== null) return null;
  try {
    const value: unknown = parseDocument(text, { logLevel: "silent" }).toJS({ maxAliasCount: MAX_ALIASES });
    // Fails on what contains itself.
    JSON.stringify(value);
    return typeof value === "object" && value !== null ? { ...value } : null;
  } catch {
    return null; // aliases of aliases, and what the library says of damage only when it is read
  }
}
