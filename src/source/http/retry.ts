// Trying again: which failures, how often, and how long to wait between.

import pRetry from "p-retry";
import type { LayerpressError } from "../../errors.ts";
import type { Traffic } from "./traffic.ts";

export interface RetryTiming {
  /** Tries after the first. Tries that brought a whole chunk do not count. */
  readonly retries: number;
  /** Wait before the second try; it doubles from there, with up to as much again at random. */
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** What a server's Retry-After can make us wait at most: who asks for more is not waited for at all. */
  readonly longestRetryAfterMs: number;
  /** First wait after a 429 that does not say how long; doubles too. */
  readonly rateLimitDelayMs: number;
  /** Such answers in a row are waited out no longer than this, or than the host counts requests where that is known. */
  readonly longestRateLimitMs: number;
  /** Silence that is told while it lasts. */
  readonly silenceMs: number;
  /** Silence after which a connection is given up, and time that it can fall behind `leastBytesPerSecond`. */
  readonly stallMs: number;
  /** A body that comes slower counts as silence: it would take days. */
  readonly leastBytesPerSecond: number;
}

export const RETRY_TIMING: RetryTiming = {
  retries: 6,
  firstDelayMs: 500,
  longestDelayMs: 30_000,
  // The Hub counts requests over five minutes.
  longestRetryAfterMs: 600_000,
  rateLimitDelayMs: 15_000,
  longestRateLimitMs: 120_000,
  silenceMs: 5_000,
  stallMs: 30_000,
  leastBytesPerSecond: 1024,
};

/** What every request of one source shares. */
export interface Transport {
  readonly timing: RetryTiming;
  readonly traffic: Traffic;
  /** Origins that have answered: a first silence is more likely a wrong address than a bad moment. */
  readonly reached: Set<string>;
}

/** A failure that may pass. */
export class TransientFailure extends Error {
  /** What to throw when it does not pass. */
  readonly final: LayerpressError;
  /** Tries that are worth making after this failure, if fewer than the timing allows. */
  readonly retryLimit: number;
  /** Milliseconds from the first failure in a row after which no more tries are worth making. */
  readonly longestMs: number;
  /** Finds out what to throw instead of `final`, once no more tries are made. */
  readonly explain: () => Promise<LayerpressError>;
  /** Least wait in milliseconds after so many failures in a row. */
  readonly delayMs: (failures: number) => number;

  /** @param reason for the display, continuing "waiting 8 s: " */
  constructor(
    reason: string,
    final: LayerpressError,
    options: Partial<Pick<TransientFailure, "retryLimit" | "longestMs" | "delayMs" | "explain">> = {},
  ) {
    super(reason);
    this.name = "TransientFailure";
    this.final = final;
    this.retryLimit = options.retryLimit ?? Infinity;
    this.longestMs = options.longestMs ?? Infinity;
    this.explain = options.explain ?? (async () => final);
    this.delayMs = options.delayMs ?? (() => 0);
  }
}

/**
 * Runs `operation` until it does anything but throw a TransientFailure, with exponential backoff.
 * @param progressed whether the last try got somewhere; such tries are repeated at once and without number
 * @throws the failure's `final` error when the tries are used up, and the signal's reason when it is aborted
 */
export async function withRetry<T>(
  { timing, traffic }: Transport,
  signal: AbortSignal,
  operation: () => Promise<T>,
  progressed: () => boolean = () => false,
): Promise<T> {
  const task = {};
  let failures = 0;
  let failingSince = 0;
  let goesOn = true;
  /** Milliseconds that a failure may still be waited out. */
  const leftOf = (error: TransientFailure) =>
    failures > error.retryLimit ? 0 : error.longestMs - (performance.now() - failingSince);
  try {
    return await pRetry(
      async () => {
        traffic.waiting(task, null);
        return await operation();
      },
      {
        retries: timing.retries,
        minTimeout: timing.firstDelayMs,
        maxTimeout: timing.longestDelayMs,
        randomize: true,
        signal,
        shouldConsumeRetry: () => !progressed(),
        onFailedAttempt: async ({ error, retriesLeft, retryDelay }) => {
          failures = progressed() ? 1 : failures + 1;
          if (failures === 1) failingSince = performance.now();
          goesOn = error instanceof TransientFailure && leftOf(error) > 0;
          if (!(error instanceof TransientFailure) || retriesLeft === 0 || !goesOn) return;
          const asked = Math.min(error.delayMs(failures), timing.longestRetryAfterMs, leftOf(error));
          const wait = Math.max(asked, retryDelay);
          const next = `${error.message}, ${nextAttempt(error, failures, timing)}`;
          traffic.waiting(task, `waiting ${Math.ceil(wait / 1000)} s: ${next}`);
          await sleep(wait - retryDelay, signal);
        },
        shouldRetry: () => goesOn,
      },
    );
  } catch (error) {
    throw error instanceof TransientFailure ? await error.explain() : error;
  } finally {
    traffic.waiting(task, null);
  }
}

/** "attempt 2 of 7", or when it will have been enough. */
function nextAttempt(
  { longestMs, retryLimit }: TransientFailure,
  failures: number,
  timing: RetryTiming,
): string {
  if (longestMs < Infinity) return `attempt ${failures + 1}, given up after ${Math.ceil(longestMs / 1000)} s`;
  return `attempt ${failures + 1} of ${Math.min(timing.retries, retryLimit) + 1}`;
}

/**
 * Milliseconds that a Retry-After header asks for, in seconds or as an HTTP date; null if there is none.
 * Source: RFC 9110, section 10.2.3.
 */
export function parseRetryAfter(header: string | null, now: number): number | null {
  if (header === null) return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(date - now, 0);
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", abort, { once: true });
  });
}
