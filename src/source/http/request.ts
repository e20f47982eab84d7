// One try of one request.

import { type Answer, readBody } from "./body-reader.ts";
import type { Asked } from "./asked.ts";
import { createPatience } from "./patience.ts";
import { broken, statusFailure, unreachable } from "./http-failure.ts";
import type { Host } from "./host.ts";
import { TransientFailure, type Transport } from "./retry.ts";

/** So much of a refusal is read, which is more than most have: then the connection can be used again. */
const DRAINED_BYTES = 64 * 1024;

/**
 * Sends a GET request and waits for the headers. Nothing is written to the HTTP cache, no referrer is sent (the Hub answers some of
 * them with 404), and no header is added that would need a preflight, but for the Hub's token.
 * @throws TransientFailure for what may pass, a LayerpressError for what will not, the signal's reason when aborted
 */
export async function ask(
  transport: Transport,
  host: Host,
  asked: Asked,
  signal: AbortSignal,
): Promise<Answer> {
  const connection = new AbortController();
  const patience = createPatience(transport, host, asked.what);
  const guard = async <T>(
    promise: Promise<T>,
    failure: (cause: unknown) => TransientFailure,
    bytesOf: (part: T) => number = () => 0,
  ) => {
    const stop = patience.begin((stall) => connection.abort(stall));
    try {
      const part = await promise;
      patience.came(bytesOf(part));
      return part;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof TransientFailure ? error : failure(error);
    } finally {
      stop();
    }
  };
  const response = await guard(
    fetch(asked.url, {
      headers: { ...asked.headers, ...host.headers(asked.url) },
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.any([signal, connection.signal]),
    }),
    (cause) => unreachable(transport, host, asked, cause),
  );
  transport.reached.add(host.name);
  const answer: Answer = {
    response,
    receive: async (part, bytesOf) => await guard(part, (cause) => broken(host, asked.what, cause), bytesOf),
    cancel: () => {
      connection.abort();
    },
  };
  if (response.ok) return answer;
  await readBody(answer, () => {}).take(DRAINED_BYTES);
  answer.cancel();
  throw statusFailure(transport, host, asked, response);
}
