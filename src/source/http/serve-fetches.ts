// A thread that fetches: of each byte that comes over the network the browser makes a copy here, not in the thread that hands bytes out.

import { expose, type Endpoint, releaseProxy, type Remote, transfer } from "comlink";
import { type RemoteFile, type Span, streamSpans } from "./fetch-range.ts";
import { type HostAccess, makeHost } from "./host.ts";
import type { RetryTiming } from "./retry.ts";
import { createTraffic } from "./traffic.ts";

/** Bytes that come within so many milliseconds are told of at once. */
const TOLD_MS = 200;

export interface FetchOrder {
  /** Names the order, for `abort`. */
  readonly id: number;
  readonly file: Omit<RemoteFile, "host">;
  readonly host: HostAccess;
  readonly timing: RetryTiming;
  /** True if the host has answered before. */
  readonly reached: boolean;
  /** Adjoining spans of the file. */
  readonly spans: readonly Span[];
  /** Where the first of them shall come. */
  readonly room: ArrayBuffer | null;
}

/** What a span that has come is answered with. */
export interface FetchAnswer {
  readonly stop: boolean;
  /** Where the next span shall come; null makes a new buffer. */
  readonly room: ArrayBuffer | null;
}

export interface FetchSink {
  take(index: number, bytes: Uint8Array<ArrayBuffer>): FetchAnswer | Promise<FetchAnswer>;
  received(bytes: number): void;
  waiting(sentence: string | null): void;
}

export interface FetcherApi {
  /** Streams the spans to `sink` as `streamSpans` does, and fails as it does. */
  stream(order: FetchOrder, sink: FetchSink): Promise<void>;
  abort(id: number): void;
}

/** Serves orders of another thread. */
export function serveFetches(endpoint?: Endpoint): void {
  const running = new Map<number, AbortController>();
  const api: FetcherApi = {
    async stream(order, given) {
      const ending = new AbortController();
      const sink = given as Remote<FetchSink>;
      running.set(order.id, ending);
      try {
        await fetchSpans(order, sink, ending.signal);
      } finally {
        running.delete(order.id);
        sink[releaseProxy]();
      }
    },
    abort: (id) => running.get(id)?.abort(),
  };
  expose(api, endpoint);
}

async function fetchSpans(
  { file, host: madeOf, timing, reached, spans, room }: FetchOrder,
  sink: Remote<FetchSink>,
  signal: AbortSignal,
): Promise<void> {
  const host = makeHost(madeOf);
  const told = tellTraffic(sink);
  let next = room;
  let stop = false;
  let index = 0;
  const transport = { timing, traffic: told.traffic, reached: new Set(reached ? [host.name] : []) };
  await streamSpans(transport, { ...file, host }, spans, {
    signal,
    stop: () => stop,
    room() {
      const own = next;
      // Should this try break, the next one finds it given away.
      next = null;
      return own ?? undefined;
    },
    async take(_span, bytes) {
      told.flush();
      const answer = await sink.take(index++, transfer(bytes, [bytes.buffer]));
      stop = answer.stop;
      next = answer.room;
    },
  });
}

/** Traffic that is told to another thread. */
function tellTraffic(sink: Remote<FetchSink>) {
  const own = createTraffic();
  let untold = 0;
  let wait: string | null = null;
  let toldAt = performance.now();
  const flush = () => {
    if (untold > 0) void sink.received(untold);
    untold = 0;
    toldAt = performance.now();
  };
  const traffic = {
    ...own,
    received(bytes: number) {
      untold += bytes;
      if (performance.now() - toldAt >= TOLD_MS) flush();
    },
    waiting(task: object, sentence: string | null) {
      own.waiting(task, sentence);
      if (own.wait !== wait) void sink.waiting(own.wait);
      wait = own.wait;
    },
  };
  return { traffic, flush };
}
