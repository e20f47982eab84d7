// What a result was made of and by, so that it can be made again and compared: receipt.json. Types alone; names are those of
// the file, in snake case, and those of LLM Compressor's options.

import type { AdapterSummary } from "../gpu/device/adapter-summary.ts";
import type {
  CalibrationOptions,
  CalibrationSource,
  JobPart,
  RecipeChoice,
  SampleShare,
} from "./job-options.ts";

/** A file of the user's machine is told by its name alone. */
export type StatedSource =
  | { readonly kind: "file"; readonly name: string; readonly column: string | null }
  | Extract<CalibrationSource, { readonly kind: "model" | "dataset" }>
  /** Token ids of an earlier job, of which nobody wrote down where they came from. */
  | { readonly kind: "stored" };

export type StatedCalibration = Omit<CalibrationOptions, "source"> & { readonly source: StatedSource };

/** A job's options as far as they decide about the result, and the budget that it ran with. */
export interface StatedOptions {
  readonly recipe: RecipeChoice;
  readonly calibration: StatedCalibration | null;
  readonly gpu_budget_bytes: number;
  /** The recipe whose error later layers saw, where that is not the result's own. */
  readonly along?: RecipeChoice;
  /** What was made of the model; absent, all of it. */
  readonly part?: JobPart;
  /** Of jobs that shared the samples, which job this was: their sums have another order than those of a job alone. */
  readonly share?: SampleShare;
}

export interface StatedFile {
  readonly path: string;
  readonly bytes: number;
}

export interface ReceiptFacts {
  readonly made_by: { readonly program: string; readonly version: string; readonly commit: string };
  readonly source: {
    /** As typed, without its query; null for dropped files. */
    readonly address: string | null;
    readonly label: string;
    readonly repository: string | null;
    readonly revision: string | null;
    /** `version` is what the server calls these bytes: an ETag, on the Hub a SHA-256 or a git blob's SHA-1; null where none is known. */
    readonly files: readonly (StatedFile & { readonly version: string | null })[];
  };
  /** LLM Compressor's YAML, as in recipe.yaml. */
  readonly recipe: string;
  readonly options: StatedOptions;
  /** The samples: SHA-256 over each sequence's length and token ids, 32 bits each, little-endian. Null without calibration. */
  readonly calibration: {
    readonly samples: number;
    readonly tokens: number;
    readonly sha256: string;
  } | null;
  readonly adapter: Pick<AdapterSummary, "vendor" | "architecture" | "description" | "software">;
}

export interface Receipt extends ReceiptFacts {
  /** Version of the file's layout: a reader refuses what it does not know. */
  readonly layout: 1;
  /** What forward passes ran on; absent where there were none, and in earlier versions' receipts. */
  readonly forward_products?: string;
  /** The result's files, but for those that tell of times or of a quality that was measured later. */
  readonly files: readonly (StatedFile & { readonly sha256: string })[];
}
