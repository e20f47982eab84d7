// JSON as Python's json module writes it: with Infinity, -Infinity and NaN, which RFC 8259 has not. transformers writes
// such numbers into config.json (`time_step_limit` of hybrid models), pandas into rows.

/** Files of models and data sets nest a dozen levels. */
export const MAX_DEPTH = 100;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Strings, so that words inside of them are not taken for numbers; then the numbers. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN/gs;
/** Larger than any double: JSON.parse makes Infinity of it. */
const HUGE = "1e999";
/** No text of a file begins with this character and the word. */
const NOT_A_NUMBER = "\u0000NaN";

/** True if walking over what the text says would take more than `MAX_DEPTH` calls. */
export function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let position = 0; position < text.length; position++) {
    const unit = text.charCodeAt(position);
    if (unit === QUOTE) position = endOfString(text, position);
    // The brackets [ ] { }: closing ones come two after opening ones.
    else if (unit === 0x5b || unit === 0x7b) depth++;
    else if (unit === 0x5d || unit === 0x7d) depth--;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/** Position of the quote that ends the string that begins at `start`; the text's length if none does. */
export function endOfString(text: string, start: number): number {
  let position = start + 1;
  for (;;) {
    const quote = text.indexOf('"', position);
    if (quote < 0) return text.length;
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote;
    position = quote + 1;
  }
}

/**
 * Parses JSON whose depth was looked at, Python's kinds of it too.
 * @throws SyntaxError as JSON.parse does.
 */
export function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const plain = text.replace(TOKEN, asJson);
    if (plain === text) throw error;
    return JSON.parse(plain, (_, value: unknown) => (value === NOT_A_NUMBER ? Number.NaN : value));
  }
}

function asJson(token: string): string {
  if (token.startsWith('"')) return token;
  return token === "NaN" ? JSON.stringify(NOT_A_NUMBER) : token.replace("Infinity", HUGE);
}
