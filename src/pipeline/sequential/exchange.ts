// What jobs that share samples tell each other, as files by name at an address. The other end (`scripts/cli/exchange-files.ts`)
// knows whether the others live; here is asked again and again, so that a job that waits can be cancelled.

import type { JobShare } from "../../api/job-options.ts";
import { ExchangeError } from "../../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface Exchange {
  /** Writes a file for the others; it appears whole or not at all. */
  put(name: string, parts: readonly Bytes[]): Promise<void>;
  /** True if the file is there. */
  has(name: string): Promise<boolean>;
  /**
   * A file of share `from`, once it is there.
   * @param what it holds, for the sentence that says what is missing
   */
  take(name: string, wanted: { readonly from: number; readonly what: string }): Promise<Bytes>;
  /** Removes a file that nobody reads any more. */
  drop(name: string): Promise<void>;
}

/** Status of a file that is not there yet, and whose author lives. */
const NOT_YET = 202;

/**
 * @param checkpoint is waited for between two questions
 * @throws ExchangeError, from each of the exchange's functions, with the other end's sentence
 */
export function openExchange(
  { exchange }: Pick<JobShare, "exchange">,
  checkpoint: () => Promise<void>,
): Exchange {
  const ask = async (name: string, init: RequestInit, query = ""): Promise<Response> => {
    try {
      return await fetch(`${exchange}${name}${query}`, { ...init, cache: "no-store" });
    } catch (cause) {
      throw new ExchangeError(`The files of the other shares cannot be reached any more: ${String(cause)}.`, {
        cause,
      });
    }
  };
  const told = async (response: Response): Promise<Response> => {
    if (response.ok) return response;
    throw new ExchangeError(await response.text());
  };
  return {
    async put(name, parts) {
      await told(await ask(name, { method: "PUT", body: new Blob([...parts]) }));
    },
    has: async (name) => (await ask(name, { method: "HEAD" })).ok,
    async take(name, { from, what }) {
      const query = `?${String(new URLSearchParams({ from: String(from), what }))}`;
      for (;;) {
        await checkpoint();
        const response = await told(await ask(name, {}, query));
        if (response.status !== NOT_YET) return new Uint8Array(await response.arrayBuffer());
      }
    },
    async drop(name) {
      await told(await ask(name, { method: "DELETE" }));
    },
  };
}
