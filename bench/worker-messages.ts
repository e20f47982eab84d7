// Between the page and the worker that measures: plain messages, so that the page shares no script with the application
// and the application's first load stays what it is.

import type { BenchmarkOptions } from "./options.ts";
import type { BenchmarkResult } from "./report/result.ts";

/** Comes with a port for the answers. */
export type BenchmarkRequest = BenchmarkOptions;

export type BenchmarkAnswer =
  /** A line for people, as soon as there is one. */
  | { readonly kind: "line"; readonly text: string }
  | { readonly kind: "result"; readonly result: BenchmarkResult; readonly text: string }
  | { readonly kind: "failure"; readonly message: string };
