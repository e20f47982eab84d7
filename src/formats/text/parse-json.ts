// JSON from outside. It is bounded in depth before it is parsed, because whatever walks over it afterwards, ours or not,
// does so by recursion.

import { MalformedModelError } from "../../errors.ts";
import { MAX_DEPTH, nestsTooDeep, parsePythonJson } from "./python-json.ts";

type Failure = new (message: string, options?: ErrorOptions) => Error;

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
    throw new Failure(
      `${what} is not valid JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
      },
    );
  }
}

/** @throws Failure if the text nests its values deeper than `MAX_DEPTH`, be it JSON or not. */
export function checkDepth(what: string, text: string, Failure: Failure = MalformedModelError): void {
  if (!nestsTooDeep(text)) return;
  throw new Failure(
    `${what} nests its values more than ${MAX_DEPTH} levels deep, which no real file does. It is damaged, or made to do harm.`,
  );
}
