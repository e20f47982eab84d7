// JSON from outside. It is bounded in depth before it is parsed, because whatever walks over it afterwards, ours or not,
// does so by recursion.

import { type LayerpressError, MalformedModelError } from "../errors.ts";
import { parsePythonJson } from "./python-json.ts";

/** Files of models and data sets nest a dozen levels. */
export const MAX_DEPTH = 100;

type Failure = new (message: string, options?: ErrorOptions) => LayerpressError;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Parses a file's bytes.
 * @param what names the file at the beginning of the sentence ("config.json")
 * @throws Failure if the bytes are not UTF-8, not JSON, or nest deeper than `MAX_DEPTH`.
 */
export function parseJsonBytes(
  what: string,
  bytes: Uint8Array,
  Failure: Failure = MalformedModelError,
): unknown {
  return parseJson(what, decodeUtf8(what, bytes, Failure), Failure);
}

/** @throws Failure if the bytes are not UTF-8. */
export function decodeUtf8(what: string, bytes: Uint8Array, Failure: Failure = MalformedModelError): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Failure(`${what} is not JSON in UTF-8.`, { cause });
  }
}

/**
 * Takes Infinity and NaN, as Python writes them.
 * @throws Failure if the text is not JSON, or nests deeper than `MAX_DEPTH`.
 */
export function parseJson(what: string, text: string, Failure: Failure = MalformedModelError): unknown {
  checkDepth(what, text, Failure);
  try {
    return parsePythonJson(text);
  } catch (cause) {
    throw new Failure(`${what} is not JSON in UTF-8.`, { cause });
  }
}

function checkDepth(what: string, text: string, Failure: Failure): void {
  let depth = 0;
  for (let position = 0; position < text.length; position++) {
    const unit = text.charCodeAt(position);
    if (unit === QUOTE) position = endOfString(text, position);
    // The brackets [ ] { }: closing ones come two after opening ones.
    else if (unit === 0x5b || unit === 0x7b) depth++;
    else if (unit === 0x5d || unit === 0x7d) depth--;
    if (depth > MAX_DEPTH) {
      throw new Failure(
        `${what} nests its values more than ${MAX_DEPTH} levels deep, which no real file does. It is damaged, or made to do harm.`,
      );
    }
  }
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
