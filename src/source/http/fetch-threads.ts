// Streams of spans that other threads fetch.

import { proxy, type Remote, transfer } from "comlink";
import { type RemoteFile, type Span, type SpanSink, streamSpans } from "./fetch-range.ts";
import type { Transport } from "./retry.ts";
import type { FetchAnswer, FetcherApi, FetchOrder } from "./serve-fetches.ts";
import { BrokenThreadError, type Thread } from "../../start-thread.ts";

/** As `streamSpans`. */
export type StreamSpans = <S extends Span>(
  transport: Transport,
  file: RemoteFile,
  spans: readonly S[],
  sink: SpanSink<S>,
) => Promise<void>;

type FetchThread = Pick<Thread<FetcherApi>, "api" | "broken"> & {
  running: number;
  /** So many were given to it. */
  orders: number;
};

/** For fewer spans no thread is begun: a small model comes faster than a thread does. */
const LEAST_SPANS = 2;

/**
 * Streams in threads, each begun when all others are at work. Where one breaks down the calling thread goes on itself.
 * @param begin starts a thread that serves fetches
 * @param most threads at a time
 */
export function fetchInThreads(
  begin: () => Pick<Thread<FetcherApi>, "api" | "broken">,
  most: number,
): StreamSpans {
  let threads: FetchThread[] = [];
  return async (transport, file, spans, sink) => {
    const begun = leastBusy(threads, most);
    if (!begun && spans.length < LEAST_SPANS) return await streamSpans(transport, file, spans, sink);
    const thread = begun ?? { ...begin(), running: 0, orders: 0 };
    if (!threads.includes(thread)) threads.push(thread);
    let taken = 0;
    thread.running++;
    try {
      await streamThrough(thread, transport, file, spans, {
        ...sink,
        async take(span, bytes) {
          await sink.take(span, bytes);
          taken++;
        },
      });
    } catch (error) {
      if (!(error instanceof BrokenThreadError)) throw error;
      threads = threads.filter((other) => other !== thread);
      await streamSpans(transport, file, spans.slice(taken), sink);
    } finally {
      thread.running--;
    }
  };
}

/** Null where another thread is to be begun. */
function leastBusy(threads: readonly FetchThread[], most: number): FetchThread | null {
  const [first] = threads.toSorted((a, b) => a.running - b.running);
  return first && (first.running === 0 || threads.length >= most) ? first : null;
}

async function streamThrough<S extends Span>(
  thread: FetchThread,
  { timing, traffic, reached }: Transport,
  { host, ...file }: RemoteFile,
  spans: readonly S[],
  sink: SpanSink<S>,
): Promise<void> {
  const roomFor = (span: S | undefined) => (span && sink.room?.(span)) ?? null;
  const task = {};
  const { api, broken } = thread;
  const id = thread.orders++;
  const order: FetchOrder = {
    id,
    file,
    host: host.madeOf,
    timing,
    reached: reached.has(host.name),
    spans: spans.map(({ start, end }) => ({ start, end })),
    room: roomFor(spans[0]),
  };
  const failure: { cause: unknown }[] = [];
  const given = proxy({
    async take(index: number, bytes: Uint8Array<ArrayBuffer>): Promise<FetchAnswer> {
      const span = spans[index];
      try {
        if (span) await sink.take(span, bytes);
      } catch (cause) {
        failure.push({ cause });
        return { stop: true, room: null };
      }
      return lent({ stop: sink.stop(), room: roomFor(spans[index + 1]) });
    },
    received: (bytes: number) => traffic.received(bytes),
    waiting: (sentence: string | null) => traffic.waiting(task, sentence),
  });
  const abort = () => void api.abort(id);
  sink.signal.throwIfAborted();
  sink.signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([streamOf(api, order, given), broken]);
  } catch (error) {
    sink.signal.throwIfAborted();
    throw error;
  } finally {
    sink.signal.removeEventListener("abort", abort);
    traffic.waiting(task, null);
  }
  if (failure[0]) throw failure[0].cause;
}

async function streamOf(
  api: Remote<FetcherApi>,
  order: FetchOrder,
  sink: Parameters<FetcherApi["stream"]>[1],
) {
  await api.stream(lent(order), sink);
}

/** Gives the buffer away that something names. */
function lent<T extends { readonly room: ArrayBuffer | null }>(given: T): T {
  return given.room ? transfer(given, [given.room]) : given;
}
