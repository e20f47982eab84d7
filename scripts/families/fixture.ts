// What is measured, and how findings are told.

export interface Fixture {
  /** Unique: the folder that it is in, and its own. */
  readonly name: string;
  readonly folder: string;
}

/** What was found of a checkpoint, or the sentence it ended with. */
export type Found<Value> = ReadonlyMap<string, Value | string>;

/** Opened in transformers, and beside LLM Compressor. */
export interface Opened {
  /** Tensors missing, mismatched or unexpected. */
  readonly complaints: number;
  readonly detail: string;
  /** What LLM Compressor quantizes beside or instead, by a recipe of all Linears. */
  readonly set: string;
  /** The same by the recipe that the result carries. */
  readonly replayed: string;
}
