// The evaluating worker as the page sees it, and scripts that drive the page. Types only, so that the scripts' own project
// can read them without the page.

import type { EvaluatorApi } from "./evaluator-api.ts";

/** A worker's contract as seen from the page: every call is a message, so every answer is a promise. */
export type AcrossThreads<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

/** Starts its worker with the first call. */
export type Evaluator = AcrossThreads<EvaluatorApi>;

declare global {
  var layerpressEvaluator: Evaluator;
}
