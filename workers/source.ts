import "../src/disposal.ts";
import { createSource } from "../src/source/create-source.ts";
import { exposeSource } from "../src/source/expose-source.ts";
import { fetchInThreads } from "../src/source/http/fetch-threads.ts";
import { limitsFor } from "../src/source/chunks/loader-limits.ts";
import type { FetcherApi } from "../src/source/http/serve-fetches.ts";
import { startThread } from "../src/start-thread.ts";
// oxlint-disable-next-line import/default -- Vite makes the default export.
import fetcherUrl from "./fetcher.ts?worker&url";

// The page's folder is the one above this script's, in the build (assets/) as in the sources (workers/).
const script = import.meta.url;
const limits = limitsFor(navigator.hardwareConcurrency);
const begin = () => startThread<FetcherApi>(fetcherUrl, script, "fetcher");
// More threads than there are requests at a time would wait for each other.
const stream = fetchInThreads(begin, limits.requests);
exposeSource(createSource({ base: new URL("..", script).href, stream, limits }));
