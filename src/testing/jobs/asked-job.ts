// A job in a few words: what tests change of one that takes two samples, 64 MiB of GPU memory and all else as usual.

import type { JobOptions, MethodControls, RecipeControls } from "../../api/job-options.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import { CALIBRATION_OPTIONS } from "../calibration-options.ts";

const MIB = 1024 ** 2;
/** Tokens of the samples: two sequences of one batch. */
const IDS = JSON.stringify([
  Array.from({ length: 24 }, (_, at) => at + 1),
  Array.from({ length: 24 }, (_, at) => 50 - at),
]);

/** A recipe in a few words. */
export interface AskedRecipe {
  readonly scheme: string;
  readonly groupSize?: number;
  readonly method: MethodControls;
}

/** What is not as usual. */
export interface JobChanges
  extends Pick<JobOptions, "part" | "states" | "share">, Pick<RecipeControls, "rewriter"> {
  readonly propagateError?: boolean;
  readonly groupSize?: number;
  /** Modules that are left alone; default lm_head. */
  readonly ignore?: readonly string[];
  /** More recipes of the same run, and the one whose error later layers see. */
  readonly beside?: readonly AskedRecipe[];
  readonly along?: AskedRecipe;
  readonly gpuBudgetBytes?: number;
  readonly hostBudgetBytes?: number;
  /** A recipe in YAML instead of the scheme and the method. */
  readonly yaml?: string;
  /** The model is downloaded, not dropped: `fetch` and `indexedDB` are in memory from then on. */
  readonly downloaded?: boolean;
  /** Waited for with each array that a layer's bytes come in. */
  readonly onTaken?: (bytes: Uint8Array) => Promise<void>;
  /** Waited for before each range that a job reads, and may fail in its place. */
  readonly onRead?: (range: FileRange) => Promise<void>;
}

/** The options that the page would give the job. */
export function optionsOf(
  first: AskedRecipe,
  {
    propagateError = true,
    rewriter,
    groupSize,
    ignore,
    beside = [],
    along,
    yaml,
    gpuBudgetBytes = 64 * MIB,
    ...part
  }: Omit<JobChanges, "downloaded" | "onTaken" | "onRead">,
): JobOptions {
  const calibrates = [first, ...beside].some((each) => each.method.name === "GPTQModifier");
  return {
    recipe:
      yaml === undefined
        ? controlsOf({ ...first, ...(groupSize && { groupSize }) }, rewriter, ignore)
        : { kind: "yaml", text: yaml },
    ...(beside.length > 0 && { beside: beside.map((other) => controlsOf(other)) }),
    ...(along && { along: controlsOf(along) }),
    calibration:
      calibrates || rewriter || yaml !== undefined
        ? { ...CALIBRATION, propagate_error: propagateError }
        : null,
    gpuBudgetBytes,
    keepSource: false,
    ...part,
  };
}

function controlsOf(
  { scheme, method, groupSize }: AskedRecipe,
  rewriter?: RecipeControls["rewriter"],
  ignore: readonly string[] = ["lm_head"],
): RecipeControls {
  return {
    kind: "controls",
    scheme,
    group_size: groupSize ?? null,
    ignore,
    method,
    ...(rewriter ? { rewriter } : {}),
    observer: "memoryless_minmax",
  };
}

const CALIBRATION: NonNullable<JobOptions["calibration"]> = {
  ...CALIBRATION_OPTIONS,
  source: { kind: "file", file: new File([IDS], "ids.json"), column: null },
  max_seq_length: 24,
  forward_products: "F32",
};
