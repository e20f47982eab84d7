// How a worker's sources come by their chunks: through threads of their own, which no work of the worker holds up.

// oxlint-disable-next-line import/default -- Vite makes the default export.
import fetcherUrl from "./fetcher.ts?worker&url";
import { startThread } from "../src/start-thread.ts";
import { limitsFor } from "../src/source/chunks/loader-limits.ts";
import type { SourceOptions } from "../src/source/create-source.ts";
import { fetchInThreads } from "../src/source/http/fetch-threads.ts";
import type { FetcherApi } from "../src/source/http/serve-fetches.ts";

/**
 * Threads that are begun with the first large request, for one or several sources.
 * @param script address of the worker's script: the page's folder is the one above it, in the build (assets/) as in the sources (workers/)
 */
export function fetchedInThreads(script: string): Pick<SourceOptions, "base" | "stream" | "limits"> {
  const limits = limitsFor(navigator.hardwareConcurrency);
  const begin = () => startThread<FetcherApi>(fetcherUrl, script, "fetcher");
  // More threads than there are requests at a time would wait for each other.
  return { base: new URL("..", script).href, stream: fetchInThreads(begin, limits.requests), limits };
}
