// HTTP's and the browser's ways of failing, sorted into those that may pass and those that will not.

import { AccessError, NetworkError } from "../../errors.ts";
import type { Host } from "./host.ts";
import type { Asked } from "./asked.ts";
import { whyUnreadable } from "./why-unreadable.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { parseRetryAfter, type RetryTiming, TransientFailure, type Transport } from "./retry.ts";

/** A server that has never answered is tried this often again: its address is likely wrong. */
const UNREACHED_RETRIES = 1;
/** A signed URL that was refused is signed anew so often. */
const SIGNED_URL_RETRIES = 1;
/** A connection that stalls is opened anew so often: with 30 s of silence each, the sentence comes within 95 s. */
const STALL_RETRIES = 2;

const STATUS_NAMES: Readonly<Record<number, string>> = {
  408: "request timeout",
  425: "too early",
  429: "too many requests",
  500: "internal error",
  502: "bad gateway",
  503: "unavailable",
  504: "gateway timeout",
};

/** The server has the file, and not one byte of what was asked for. */
export class NoSuchBytesError extends AccessError {}

/** What an answer outside the 2xx range means for `what`, the file or list that was asked for. */
export function statusFailure(
  transport: Transport,
  host: Host,
  asked: { readonly url: string; readonly what: string },
  response: Response,
): Error {
  const { status } = response;
  if (status === 403 && response.redirected && new URL(response.url).origin !== new URL(asked.url).origin) {
    const cdn = new URL(response.url).host;
    return new TransientFailure(
      `the signed address of ${asked.what} has expired`,
      host.refusal(403, null, `${asked.what} (by way of ${cdn})`),
      { retryLimit: SIGNED_URL_RETRIES },
    );
  }
  if ([401, 403, 404, 410, 451].includes(status)) {
    return host.refusal(status, response.headers.get("x-error-code"), asked.what);
  }
  if (status === 416) {
    return new NoSuchBytesError(
      `${host.name} has no such bytes of ${asked.what} (416): the file is empty, or was replaced by a shorter one.`,
    );
  }
  const named = STATUS_NAMES[status] ? `${status} (${STATUS_NAMES[status]})` : String(status);
  if (![408, 425, 429].includes(status) && status < 500) {
    return new NetworkError(`${host.name} answers ${named} for ${asked.what}, which was not expected.`);
  }
  const retryAfter = parseRetryAfter(response.headers.get("retry-after"), Date.now());
  const { longestRetryAfterMs } = transport.timing;
  if (retryAfter !== null && retryAfter > longestRetryAfterMs) {
    return new NetworkError(
      `${host.name} answers ${named} for ${asked.what}, and asks not to be asked again for ${waitInWords(retryAfter)}. Try again then, or use another server.`,
    );
  }
  if (status === 429 && retryAfter === null) return rateLimited(transport, host, asked.what, named);
  const final = new NetworkError(
    `${host.name} answers ${named} for ${asked.what}, and went on doing so. Try again later.`,
  );
  return new TransientFailure(`${host.name} answers ${named}`, final, { delayMs: () => retryAfter ?? 0 });
}

/** Too many requests, and no word that this page may read on when there may be more. */
function rateLimited({ timing }: Transport, host: Host, what: string, named: string): TransientFailure {
  const longestMs = Math.max(timing.longestRateLimitMs, host.rateWindowMs);
  const final = new NetworkError(
    `${host.name} answers ${named} for ${what}, does not say for how long (or not where this page may read it), and went on doing so for ${waitInWords(longestMs)}. Go on later; if it happens again, download the files and drop the folder here.`,
  );
  return new TransientFailure(`${host.name} answers ${named}`, final, {
    longestMs,
    delayMs: (failures) => timing.rateLimitDelayMs * 2 ** (failures - 1),
  });
}

/** "1 minute", "11 minutes", "3 hours", "365 days": rounded up, and one alone of minutes only. */
function waitInWords(milliseconds: number): string {
  const minutes = Math.ceil(milliseconds / 60_000);
  if (minutes < 120) return minutes === 1 ? "1 minute" : `${minutes} minutes`;
  const hours = minutes / 60;
  return hours < 48 ? `${Math.ceil(hours)} hours` : `${Math.ceil(hours / 24)} days`;
}

/** `fetch` rejected: the sentence is found when it is needed. */
export function unreachable(
  transport: Transport,
  host: Host,
  asked: Asked,
  cause: unknown,
): TransientFailure {
  const final = new NetworkError(
    `${host.name} cannot be reached from this page. The address may be wrong, the server or this computer may be offline, or the server does not let other pages fetch from it (no CORS headers).`,
    { cause },
  );
  const known = transport.reached.has(host.name);
  return new TransientFailure(`${host.name} cannot be reached`, final, {
    explain: async () => (await whyUnreadable(host, asked, cause)) ?? final,
    ...(known ? {} : { retryLimit: UNREACHED_RETRIES }),
  });
}

/** The connection broke while `what` was coming in. */
export function broken(host: Host, what: string, cause: unknown): TransientFailure {
  return new TransientFailure(
    `the connection to ${host.name} broke`,
    new NetworkError(
      `The connection to ${host.name} keeps breaking while ${what} is downloaded. Try again on a better connection.`,
      { cause },
    ),
  );
}

/** Nothing came for `stallMs`, or so little that it comes to the same. */
export function stalled(
  host: Host,
  what: string,
  { stallMs, leastBytesPerSecond }: RetryTiming,
): TransientFailure {
  const seconds = Math.round(stallMs / 1000);
  return new TransientFailure(
    `${host.name} sent nothing for ${seconds} s, or next to nothing`,
    new NetworkError(
      `${host.name} does not go on sending ${what}: ${STALL_RETRIES + 1} times nothing came for ${seconds} s, or less than ${formatBytes(leastBytesPerSecond)} a second. Try again later, or on a better connection.`,
    ),
    { retryLimit: STALL_RETRIES },
  );
}
