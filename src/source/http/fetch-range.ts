// Ranges of remote files, verified: status, Content-Range, length, and the version of the file.
// A single closed "bytes=a-b" is the one range that needs no preflight, which CDNs refuse (CORS-safelisted; Fetch standard).

import { invariant, NetworkError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { type Answer, type BodyReader, readBody } from "./body-reader.ts";
import type { FileHost, Host } from "./host.ts";
import { ask } from "./request.ts";
import { TransientFailure, type Transport, withRetry } from "./retry.ts";

export interface RemoteFile {
  readonly path: string;
  readonly url: string;
  readonly host: FileHost;
  readonly bytes: number;
  /** ETag, else Last-Modified, that every answer must repeat; null where the address itself is pinned, or none is shown. */
  readonly validator: string | null;
}

/** A half-open range of bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Bodies that end too early are asked for so often again. */
const SHORT_BODY_RETRIES = 3;

/**
 * Downloads a small range whole.
 * @throws NetworkError, AccessError; the signal's reason when aborted
 */
export async function fetchRange(
  transport: Transport,
  file: RemoteFile,
  span: Span,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  if (span.end === span.start) return new Uint8Array(0);
  const [bytes] = await fetchSpans(transport, file, [span], signal);
  invariant(bytes, "one span gives one piece");
  return bytes;
}

async function fetchSpans(
  transport: Transport,
  file: RemoteFile,
  spans: readonly Span[],
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  await streamSpans(transport, file, spans, {
    signal,
    stop: () => false,
    take: async (_span, bytes) => {
      pieces.push(bytes);
    },
  });
  return pieces;
}

export interface SpanSink<S extends Span> {
  readonly signal: AbortSignal;
  /** Asked before each try and after each span: true ends the stream, with what was taken. */
  readonly stop: () => boolean;
  /** Where a span's bytes shall come: a buffer of its length, or more; undefined makes a new one. */
  readonly room?: (span: S) => ArrayBuffer | undefined;
  /** Takes a whole span; the next one is not read before this resolves. */
  readonly take: (span: S, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;
}

/**
 * Downloads adjoining spans of a file by one request, cut up as it streams; goes on at the last whole span after a break.
 * @throws NetworkError, AccessError; what `take` throws; the signal's reason when aborted
 */
export async function streamSpans<S extends Span>(
  transport: Transport,
  file: RemoteFile,
  spans: readonly S[],
  sink: SpanSink<S>,
): Promise<void> {
  let next = 0;
  let firstOfTry = 0;
  const end = spans.at(-1)?.end ?? 0;
  const attempt = async () => {
    firstOfTry = next;
    const first = spans[next];
    if (!first || sink.stop()) return;
    const range = await openRange(transport, file, { start: first.start, end }, sink.signal);
    try {
      for (let span = spans[next]; span; span = spans[next]) {
        await sink.take(span, await range.take(span.end - span.start, sink.room?.(span)));
        next++;
        if (sink.stop()) return;
      }
      await range.finish();
    } finally {
      range.cancel();
    }
  };
  await withRetry(transport, sink.signal, attempt, () => next > firstOfTry);
}

interface OpenRange extends BodyReader {
  /** Fails if more bytes come. */
  finish(): Promise<void>;
  readonly cancel: () => void;
}

/** Sends one request for a range and checks the answer's headers. */
async function openRange(
  transport: Transport,
  file: RemoteFile,
  span: Span,
  signal: AbortSignal,
): Promise<OpenRange> {
  const range = `bytes=${span.start}-${span.end - 1}`;
  const answer = await ask(
    transport,
    file.host,
    { url: file.url, what: file.path, headers: { Range: range } },
    signal,
  );
  try {
    checkPartial(answer, file.host, file.path);
    checkContentRange(answer.response, file, span);
    checkVersion(answer.response, file);
  } catch (error) {
    answer.cancel();
    throw error;
  }
  const body = readBody(answer, transport.traffic.received);
  return {
    async take(length, room) {
      const bytes = await body.take(length, room);
      if (bytes.byteLength < length) throw shortBody(file, span);
      return bytes;
    },
    async finish() {
      if ((await body.take(1)).byteLength === 0) return;
      throw new NetworkError(
        `${file.host.name} sent more than the ${formatBytes(span.end - span.start)} of ${file.path} that were asked for. Its byte ranges cannot be trusted; use another server.`,
      );
    },
    cancel: answer.cancel,
  };
}

/** Refuses a 200: the server would send the whole file, however large. */
export function checkPartial({ response }: Answer, host: Host, path: string): void {
  if (response.status === 206) return;
  throw new NetworkError(
    `${host.name} ignores byte ranges: it answers ${response.status} with all of ${path} where a part was asked for (206). Large models cannot be read from there; use a server with range requests, or download the files and drop the folder here.`,
  );
}

function checkContentRange(response: Response, file: RemoteFile, span: Span): void {
  // Servers with plain CORS headers hide Content-Range from scripts; the body's length must do then.
  const header = response.headers.get("content-range");
  if (header === null) return;
  const range = parseContentRange(header);
  if (range?.total !== null && range?.total !== file.bytes) throw changed(file, "size");
  if (range.start === span.start && range.end === span.end) return;
  const final = new NetworkError(
    `${file.host.name} sent other bytes of ${file.path} than those asked for (${header} for ${span.start}-${span.end - 1}). Its byte ranges cannot be trusted; use another server.`,
  );
  throw new TransientFailure(`${file.host.name} sent a wrong range`, final, {
    retryLimit: SHORT_BODY_RETRIES,
  });
}

/** Reads "bytes 0-99/1000"; a total of "*" is null. Null for anything else. */
export function parseContentRange(header: string): (Span & { readonly total: number | null }) | null {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(header.trim());
  if (!match) return null;
  return {
    start: Number(match[1]),
    end: Number(match[2]) + 1,
    total: match[3] === "*" ? null : Number(match[3]),
  };
}

/** What tells versions of a file apart: its ETag, else its date; null if the server shows neither. */
export function validatorOf(response: Response): string | null {
  return response.headers.get("etag") ?? response.headers.get("last-modified");
}

function checkVersion(response: Response, file: RemoteFile): void {
  if (file.validator === null) return;
  const validator = validatorOf(response);
  if (validator !== null && validator !== file.validator) throw changed(file, "ETag");
}

function changed(file: RemoteFile, sign: string): NetworkError {
  return new NetworkError(
    `${file.path} on ${file.host.name} is no longer the file that was opened: its ${sign} has changed. Open the model again to work with its new version.`,
  );
}

function shortBody(file: RemoteFile, span: Span): TransientFailure {
  const final = new NetworkError(
    `${file.host.name} sends fewer bytes of ${file.path} than it promises (asked for ${formatBytes(span.end - span.start)} from byte ${span.start}). The file may be damaged there; try again later or use another server.`,
  );
  return new TransientFailure(`${file.host.name} sent too little`, final, { retryLimit: SHORT_BODY_RETRIES });
}
