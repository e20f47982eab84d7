// What a server does to a job in one round.

import type { Fault, FaultRule } from "../model-server/faults.ts";

const FAULTS: Readonly<Record<string, Fault>> = {
  stall: { kind: "stall", afterBytes: 100_000 },
  drip: { kind: "drip", everyMs: 500 },
  reset: { kind: "reset", afterBytes: 50_000 },
  "reset before headers": { kind: "reset", afterBytes: 0 },
  "429": { kind: "status", status: 429, headers: { "retry-after": "2" } },
  "429 for a year": { kind: "status", status: 429, headers: { "retry-after": "31536000" } },
  "503": { kind: "status", status: 503 },
  "404": { kind: "status", status: 404 },
  "wrong range": { kind: "wrong-range" },
  "range ignored": { kind: "ignore-range" },
  "changed ETag": { kind: "etag", etag: '"changed"' },
  "changed length": { kind: "length", more: 4096 },
  "HTML as 206": { kind: "html" },
  "redirect circle": { kind: "redirect-circle" },
  "gzip'd range": { kind: "gzip" },
  "short body": { kind: "short", bytes: 1000 },
  "slow headers": { kind: "slow-headers", afterMs: 12_000 },
};
export const FAULT_NAMES: readonly string[] = Object.keys(FAULTS);
/** Requests that pass at most before the fault begins. */
const MOST_PASSED = 12;
/** Requests for weights that opening a model of one file makes: for its size, for its header's length, for its header. */
const OPENING_REQUESTS = 3;

/** What a server does in a round. */
export interface ServerFault {
  readonly name: string;
  readonly rule: FaultRule;
  /** How it is called: after how many requests, and how often. */
  readonly what: string;
}

/**
 * The fault of a round of such rounds: each once for good from the first request for weights after opening, then each at
 * random.
 */
export function faultOf(names: readonly string[], round: number, random: () => number): ServerFault {
  const name = names[round % names.length] ?? "stall";
  const fault = FAULTS[name] ?? { kind: "bare" };
  const isFirst = round < names.length;
  const skip = isFirst ? OPENING_REQUESTS : Math.floor(random() * MOST_PASSED);
  const times = isFirst || random() < 0.5 ? undefined : 1 + Math.floor(random() * 3);
  const often = times === undefined ? "for good" : `${times} ×`;
  return {
    name,
    rule: { fault, path: ".safetensors", skip, ...(times === undefined ? {} : { times }) },
    what: `${name}, ${often}, after ${skip} requests`,
  };
}
