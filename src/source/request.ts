// One try of one request: the only call of `fetch` in the project's network thread.

import { broken, stalled, statusFailure, unreachable } from "./http-failure.ts";
import type { Host } from "./host.ts";
import { TransientFailure, type Transport } from "./retry.ts";

export interface Asked {
  readonly url: string;
  /** The file or list, for sentences. */
  readonly what: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly response: Response;
  /** Waits for a part of the body; a silence or a broken connection becomes a TransientFailure. */
  receive<T>(part: Promise<T>): Promise<T>;
  /** Drops the connection, unless the body was read to its end. */
  readonly cancel: () => void;
}

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
  const guard = async <T>(promise: Promise<T>, failure: (cause: unknown) => TransientFailure) => {
    const { stallMs } = transport.timing;
    const timer = setTimeout(() => connection.abort(stalled(host, asked.what, stallMs)), stallMs);
    try {
      return await promise;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof TransientFailure ? error : failure(error);
    } finally {
      clearTimeout(timer);
    }
  };
  const response = await guard(
    fetch(asked.url, {
      headers: { ...asked.headers, ...host.headers(asked.url) },
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.any([signal, connection.signal]),
    }),
    (cause) => unreachable(transport, host, cause),
  );
  transport.reached.add(host.name);
  const cancel = () => {
    connection.abort();
  };
  if (!response.ok) {
    cancel();
    throw statusFailure(transport, host, asked, response);
  }
  return {
    response,
    receive: async (part) => await guard(part, (cause) => broken(host, asked.what, cause)),
    cancel,
  };
}
