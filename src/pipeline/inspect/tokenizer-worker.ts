// A model's tokenizer in a worker of its own. Tokenizers and chat templates are programs of strangers: a pattern or a loop in
// them may take for ever, and nothing but the end of its thread ends it.

import { type Remote, wrap } from "comlink";
// oxlint-disable-next-line import/default -- Vite makes the default export.
import tokenizerUrl from "../../../workers/tokenizer.ts?worker&url";
import { CalibrationError, MalformedModelError, NetworkError } from "../../errors.ts";
import type { ModelTokenizer } from "../../model/tokenizer/model-tokenizer.ts";
import type { TokenizerFiles } from "../../model/tokenizer/tokenizer.ts";
import type { TokenizerApi } from "../../model/tokenizer/tokenizer-api.ts";
import { startWorker } from "../../start-worker.ts";

/** A tokenizer whose thread is given back. */
export type OpenTokenizer = ModelTokenizer & Disposable;

/** Any call may take this long, on the slowest machine; real ones take milliseconds. */
const LIMIT_MS = 60_000;
/** And as much more for each unit of text, or byte of the files: a hundredth of what real tokenizers do. */
const UNITS_PER_MS = 10;
/** Errors whose names the worker's messages have; everything else is a defect. */
const ERRORS = { CalibrationError, MalformedModelError } as const;

interface Started {
  readonly worker: Worker;
  readonly api: Remote<TokenizerApi>;
  readonly hasChatTemplate: boolean;
}

/**
 * Starts a worker with a tokenizer. After a call that had to be ended the next one starts another.
 * @param limitMs what any call may take, however short its text
 * @throws MalformedModelError if a file cannot be understood, CalibrationError if loading does not come to an end
 */
export async function startTokenizer(files: TokenizerFiles, limitMs = LIMIT_MS): Promise<OpenTokenizer> {
  let running: Started | null = await load(files, limitMs);
  const { hasChatTemplate } = running;
  const end = () => {
    running?.worker.terminate();
    running = null;
  };
  const call = async <Result>(
    what: string,
    units: number,
    run: (api: Remote<TokenizerApi>) => Promise<Result>,
  ): Promise<Result> => {
    running ??= await load(files, limitMs);
    return await bounded(what, limitMs + units / UNITS_PER_MS, run(running.api), end);
  };
  return {
    hasChatTemplate,
    encode: async (text, where = "The text") =>
      await call(where, text.length, async (api) => await api.encode(text)),
    encodeChat: async (conversation, addGenerationPrompt, where = "The conversation") =>
      await call(
        where,
        JSON.stringify(conversation).length,
        async (api) => await api.encodeChat(conversation, addGenerationPrompt, where),
      ),
    decode: async (ids, skipSpecialTokens = false) =>
      await call(
        `${ids.length} token ids`,
        ids.length,
        async (api) => await api.decode(ids, skipSpecialTokens),
      ),
    [Symbol.dispose]: end,
  };
}

async function load(files: TokenizerFiles, limitMs: number): Promise<Started> {
  const worker = startWorker(tokenizerUrl, import.meta.url, "tokenizer");
  const api = wrap<TokenizerApi>(worker);
  const bytes = files.tokenizerJson.byteLength + (files.tokenizerConfig?.byteLength ?? 0);
  const end = () => worker.terminate();
  try {
    const answer = Promise.race([absence(worker), api.load(files)]);
    const loading = bounded("Loading", limitMs + bytes / UNITS_PER_MS, answer, end);
    return { worker, api, ...(await loading) };
  } catch (error) {
    end();
    throw error;
  }
}

/** Rejects if the worker's script cannot be run, which would never answer. */
async function absence(worker: Worker): Promise<never> {
  return await new Promise<never>((_, reject) => {
    worker.addEventListener("error", () =>
      reject(
        new NetworkError(
          "The part of this page that reads tokenizers could not be loaded. Go on while its server can be reached.",
        ),
      ),
    );
  });
}

/** The answer, or the end of whoever should have given it. */
async function bounded<Result>(
  what: string,
  limitMs: number,
  answer: Promise<Result>,
  end: () => void,
): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    end();
    const seconds = Math.ceil(limitMs / 1000);
    reject(
      new CalibrationError(
        `${what}: the model's tokenizer or chat template (tokenizer.json, chat_template.jinja) came to no end within ${seconds} s and was stopped. A pattern or a loop in it may never end on such a text: leave the sample out, give token ids as JSON instead of text, or choose a data-free recipe.`,
      ),
    );
  }, limitMs);
  try {
    return await Promise.race([answer, late]);
  } catch (error) {
    throw asOwnError(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Errors lose their class between threads, not their name. */
function asOwnError(error: unknown): unknown {
  if (!(error instanceof Error) || !Object.hasOwn(ERRORS, error.name)) return error;
  const Failure = ERRORS[error.name as keyof typeof ERRORS];
  return error instanceof Failure ? error : new Failure(error.message, { cause: error });
}
