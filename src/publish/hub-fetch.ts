// The `fetch` that the Hub's library publishes with: progress of uploads, tries again where nothing is lost by it, an end to
// silence, and one place that decides who is sent the token.

import { NetworkError } from "../errors.ts";

export interface PublishTiming {
  /** An upload of which nothing more is taken for so long is given up. */
  readonly stallMs: number;
  /** An answer to anything else may take so long; a commit of many files takes minutes. */
  readonly answerMs: number;
  /** Waits before each further try. */
  readonly retryMs: readonly number[];
}

export const PUBLISH_TIMING: PublishTiming = {
  stallMs: 60_000,
  answerMs: 300_000,
  retryMs: [1_000, 4_000, 15_000],
};

export interface HubAccess {
  /** Origin of the Hub. */
  readonly hubUrl: string;
  readonly token: string;
  readonly timing: PublishTiming;
  readonly signal: AbortSignal;
}

/** What the library tells a `fetch` of its own about an upload. */
interface Hinted extends RequestInit {
  readonly progressHint?: { readonly progressCallback: (share: number) => void };
}

/** What any connection sends that is worth publishing over. */
const LEAST_BYTES_PER_SECOND = 64 * 1024;
/** Requests that make something each time they arrive. */
const MAKES_SOMETHING = /\/api\/repos\/create$|\/commit\/[^/]+$/;

/**
 * A `fetch` for the Hub's library.
 * @throws NetworkError where a host cannot be reached, goes silent, or would be sent a token that is not for it
 */
export function hubFetch(access: HubAccess): typeof fetch {
  return async (input, init: Hinted = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const asked: Hinted = { ...init, cache: "no-store", referrerPolicy: "no-referrer" };
    checkToken(access, url, new Headers(init.headers));
    const waits = MAKES_SOMETHING.test(url.pathname) ? [] : access.timing.retryMs;
    for (const [index, wait] of [...waits, null].entries()) {
      const answer = await attempt(access, url, asked);
      const passing = answer instanceof NetworkError || answer.status === 429 || answer.status >= 500;
      if (!passing || wait === null) {
        if (answer instanceof NetworkError) throw answer;
        return answer;
      }
      await sleep(wait * (1 + (index % 2) / 4), access.signal);
    }
    throw new NetworkError(`${url.host} could not be reached.`);
  };
}

/** The user's token goes to the Hub's own origin; what the Hub hands out for its storage goes where it says. */
function checkToken({ hubUrl, token }: HubAccess, url: URL, headers: Headers): void {
  if (headers.get("authorization") !== `Bearer ${token}` || url.origin === new URL(hubUrl).origin) return;
  throw new NetworkError(
    `${new URL(hubUrl).host} asks for the token to be sent to ${url.host}, which is another host. Nothing was sent there.`,
  );
}

async function attempt(access: HubAccess, url: URL, asked: Hinted): Promise<Response | NetworkError> {
  const ended = AbortSignal.any([access.signal, ...(asked.signal ? [asked.signal] : [])]);
  const { progressHint, ...plain } = asked;
  const patience = access.timing.answerMs + sendingMs(plain.body ?? "");
  const late = Number.isFinite(patience) ? AbortSignal.timeout(patience) : access.signal;
  try {
    return progressHint && typeof XMLHttpRequest !== "undefined"
      ? await upload(access, url, asked, ended)
      : await fetch(url, { ...plain, signal: AbortSignal.any([ended, late]) });
  } catch (cause) {
    ended.throwIfAborted();
    // Whether it arrived is not known: trying again by oneself would make things twice.
    if (cause === late.reason)
      throw new NetworkError(
        `${url.host} has not answered for ${Math.ceil(patience / 1000)} s. Look there whether the files have arrived; if not, try again later.`,
        { cause },
      );
    if (cause instanceof NetworkError) return cause;
    return new NetworkError(
      `The connection to ${url.host} broke. What arrived whole is kept there and is not sent again: try again.`,
      { cause },
    );
  }
}

/** Time that a body may take, which nothing tells of meanwhile; without end where its size is not known. */
function sendingMs(body: BodyInit): number {
  const bytes =
    typeof body === "string"
      ? body.length
      : body instanceof Blob
        ? body.size
        : body instanceof ArrayBuffer || ArrayBuffer.isView(body)
          ? body.byteLength
          : Infinity;
  return Math.ceil((bytes / LEAST_BYTES_PER_SECOND) * 1000);
}

/** Only XMLHttpRequest tells how much of a body was sent. */
async function upload(
  { timing }: HubAccess,
  url: URL,
  { method = "PUT", headers, body, progressHint }: Hinted,
  ended: AbortSignal,
): Promise<Response> {
  ended.throwIfAborted();
  const request = new XMLHttpRequest();
  return await new Promise<Response>((resolve, reject) => {
    let silence = setTimeout(giveUp, timing.stallMs);
    function giveUp(): void {
      request.abort();
      reject(
        new NetworkError(`${url.host} has taken nothing for ${timing.stallMs / 1000} s. Try again later.`),
      );
    }
    request.upload.addEventListener("progress", ({ lengthComputable, loaded, total }) => {
      clearTimeout(silence);
      silence = setTimeout(giveUp, timing.stallMs);
      if (lengthComputable && total > 0) progressHint?.progressCallback(Math.min(loaded / total, 0.9999));
    });
    request.addEventListener("load", () => resolve(responseOf(request)));
    request.addEventListener("error", () => reject(new TypeError(`The upload to ${url.host} broke.`)));
    request.addEventListener("loadend", () => clearTimeout(silence));
    ended.addEventListener("abort", () => {
      request.abort();
      reject(ended.reason as Error);
    });
    request.open(method, url.href);
    for (const [name, value] of new Headers(headers)) request.setRequestHeader(name, value);
    request.send(body as XMLHttpRequestBodyInit);
  });
}

function responseOf(request: XMLHttpRequest): Response {
  const lines = request
    .getAllResponseHeaders()
    .trim()
    .split(/\r?\n/)
    .filter((line) => line.includes(":"));
  const headers = lines.map((line): [string, string] => [
    line.slice(0, line.indexOf(":")),
    line.slice(line.indexOf(":") + 1).trim(),
  ]);
  const bodiless = request.status === 204 || request.status === 304;
  return new Response(bodiless ? null : request.responseText, { status: request.status, headers });
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
