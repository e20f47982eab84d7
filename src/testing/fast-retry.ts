import { RETRY_TIMING, type RetryTiming, type Transport } from "../source/retry.ts";
import { createTraffic } from "../source/traffic.ts";

/** The real number of tries, at a pace for tests. */
export const FAST_RETRY: RetryTiming = {
  ...RETRY_TIMING,
  firstDelayMs: 1,
  longestDelayMs: 5,
  longestRetryAfterMs: 2000,
  rateLimitDelayMs: 1,
  longestRateLimitMs: 100,
  silenceMs: 50,
  stallMs: 150,
};

export function testTransport(timing: Partial<RetryTiming> = {}): Transport {
  return { timing: { ...FAST_RETRY, ...timing }, traffic: createTraffic(), reached: new Set() };
}
