// Size against loss: what a model loses when each of its parts has the scheme that pays. Types only.

/** A point of the curve. */
export interface SurveyPoint {
  /** Bytes of the weights' files. */
  readonly resultBytes: number;
  /** Of the modules that may be quantized, those that stay as they are included. */
  readonly bitsPerWeight: number;
  /** How much the choice is expected to change the last hidden states of the text, as a share of their squares. */
  readonly loss: number;
}

export interface SchemeSurvey {
  /** Names of the schemes that are chosen from; the last is none at all. */
  readonly schemes: readonly string[];
  /** From the smallest to the one that loses nothing. */
  readonly curve: readonly SurveyPoint[];
}

/** A recipe that has a scheme for each module. */
export interface MixedRecipe extends SurveyPoint {
  readonly yaml: string;
  /** Modules by scheme, in the survey's order. */
  readonly counts: readonly number[];
}
