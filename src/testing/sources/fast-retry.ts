import { RETRY_TIMING, type RetryTiming, type Transport } from "../../source/http/retry.ts";
import { createTraffic } from "../../source/http/traffic.ts";

/** The real number of tries, at a pace for tests; and the real patience, since on a busy machine an answer may take its time. */
export const FAST_RETRY: RetryTiming = {
  ...RETRY_TIMING,
  firstDelayMs: 1,
  longestDelayMs: 5,
  longestRetryAfterMs: 2000,
  rateLimitDelayMs: 1,
  longestRateLimitMs: 100,
};

/** For tests in which a host falls silent. */
export const IMPATIENT: Partial<RetryTiming> = { silenceMs: 50, stallMs: 150 };

export function testTransport(timing: Partial<RetryTiming> = {}): Transport {
  return { timing: { ...FAST_RETRY, ...timing }, traffic: createTraffic(), reached: new Set() };
}
