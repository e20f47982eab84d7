// What is measured: windows of tokens through one model, or through two.

import type { Engine } from "../runtime/engine.ts";
import type { StoredModel } from "../weights/stored-model.ts";

export interface QualityRequest {
  readonly engine: Engine;
  /** What is measured. */
  readonly model: StoredModel;
  /** What it is measured against, or null. */
  readonly original: StoredModel | null;
  /** Token ids; each sequence is run by itself. */
  readonly sequences: readonly (readonly number[])[];
  readonly signal: AbortSignal;
  /** Called with the part that is done, 0 to 1, and what is at work. */
  onProgress(done: number, what: string): void;
}

/** A model with the rows (tokens, hidden + carried) of each sequence, as they are now. */
export interface Stream {
  readonly model: StoredModel;
  readonly rows: Float32Array<ArrayBuffer>[];
}
