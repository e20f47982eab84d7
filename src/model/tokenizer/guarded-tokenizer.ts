// A tokenizer.json is a program of strangers: patterns, tables and templates that may contradict each other. What it throws
// becomes a sentence, and what it gives is checked before it is put into 32 bits.

import { CalibrationError, LayerpressError, MalformedModelError } from "../../errors.ts";
import { shorten, showValue } from "../../formats/text/show-value.ts";

/** Ids are kept in 32 bits. */
const MAX_IDS = 2 ** 32;

export interface GuardedTokenizer {
  /** @throws MalformedModelError for an id that is none, CalibrationError if the text cannot be encoded. */
  encode(text: string, addSpecialTokens: boolean): Uint32Array<ArrayBuffer>;
  /** @throws CalibrationError if the ids cannot be decoded. */
  decode(ids: Uint32Array, skipSpecialTokens: boolean): string;
}

/** What is used of `@huggingface/tokenizers`. */
interface RawTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
}

/** A tokenizer whose failures are sentences. */
export function guardedTokenizer(tokenizer: RawTokenizer): GuardedTokenizer {
  return {
    encode(text, addSpecialTokens) {
      const what = `The tokenizer (tokenizer.json) failed on the text "${shorten(text.trim())}"`;
      const { ids } = told(what, () => tokenizer.encode(text, { add_special_tokens: addSpecialTokens }));
      const wrong = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= MAX_IDS);
      if (wrong < 0) return Uint32Array.from(ids);
      throw new MalformedModelError(
        `tokenizer.json gives the text "${shorten(text.trim())}" the token id ${showValue(ids[wrong])}, which is none. The file is damaged, or its vocabulary lacks the unknown token: give token ids as JSON instead of text.`,
      );
    },
    decode: (ids, skipSpecialTokens) =>
      told(`The tokenizer (tokenizer.json) failed to write ${ids.length} token ids as text`, () =>
        tokenizer.decode([...ids], { skip_special_tokens: skipSpecialTokens }),
      ),
  };
}

/**
 * Runs what a stranger wrote.
 * @param what the beginning of the sentence, up to the reason
 */
function told<Result>(what: string, run: () => Result): Result {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof LayerpressError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CalibrationError(
      `${what}: ${shorten(reason)}. The file may be damaged, or of a kind that is not known here: give token ids as JSON instead of text, or choose a data-free recipe.`,
      { cause },
    );
  }
}
