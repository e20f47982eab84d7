// JSON as Python's json module writes it: with Infinity, -Infinity and NaN, which RFC 8259 has not. transformers writes
// such numbers into config.json (`time_step_limit` of hybrid models), pandas into rows.

/** Strings, so that words inside of them are not taken for numbers; then the numbers. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN/gs;
/** Larger than any double: JSON.parse makes Infinity of it. */
const HUGE = "1e999";
/** No text of a file begins with this character and the word. */
const NOT_A_NUMBER = "\u0000NaN";

/**
 * Parses JSON, Python's kinds of it too.
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
