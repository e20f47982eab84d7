// Options of a job as a request says them, in a link, a receipt or on a command line: what is as usual is left out.

import type { CalibrationOptions, RecipeChoice, RecipeControls } from "../../api/job-options.ts";
import type { StatedCalibration } from "../../api/receipt.ts";
import type { CalibrationRequest, RecipeRequest } from "../../api/script-api.ts";
import { DEFAULT_IGNORE } from "../modifiers/default-ignore.ts";
import { GPTQ_ACTORDER, GPTQ_SETTINGS } from "../modifiers/gptq.ts";
import { quantizerOf } from "../modifiers/quantizers.ts";
import { REWRITERS } from "../modifiers/rewriters.ts";
/** Also in `presets.ts`, which a page that shows nothing yet does without. */
const UNQUANTIZED = "UNQUANTIZED";

const USUAL: Omit<RecipeRequest, "text"> = {
  groupSize: null,
  ignore: null,
  observer: null,
  dampeningFrac: null,
  actorder: null,
};

/** Nothing of a calibration but what is usual. */
export const USUAL_CALIBRATION: CalibrationRequest = {
  file: null,
  dataset: null,
  samples: null,
  maxSeqLength: null,
  seed: null,
  shuffle: true,
  propagateError: true,
  allExperts: true,
  minExpertTokens: null,
  hiddenStates: "F32",
  forwardProducts: "AUTO",
};

/** The recipe in one piece, "smoothquant-gptq-W8A8" or YAML, and what of it is not as usual. */
export function requestedRecipe(choice: RecipeChoice): RecipeRequest {
  if (choice.kind === "yaml") return { ...USUAL, text: choice.text };
  if (choice.scheme.toUpperCase() === UNQUANTIZED) return { ...USUAL, text: UNQUANTIZED };
  const { method, rewriter, group_size, ignore, observer, awq_loss } = choice;
  const prefix = REWRITERS.find(({ name }) => name === rewriter)?.prefix ?? "";
  return {
    ...USUAL,
    ...requestedMethod(method),
    text: `${prefix}${quantizerOf(method.name).prefix}${choice.scheme}`,
    groupSize: group_size,
    ignore: sameNames(ignore, DEFAULT_IGNORE) ? null : ignore,
    observer: observer === "memoryless_minmax" ? null : observer,
    ...(awq_loss ? { awqLoss: awq_loss } : {}),
  };
}

function requestedMethod(
  method: RecipeControls["method"],
): Partial<Pick<RecipeRequest, "dampeningFrac" | "actorder">> {
  if (method.name !== "GPTQModifier") return {};
  const { dampening_frac, actorder } = method;
  return {
    dampeningFrac: dampening_frac === GPTQ_SETTINGS.dampening_frac ? null : dampening_frac,
    actorder: actorder === GPTQ_ACTORDER ? null : (actorder ?? "none"),
  };
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}

/**
 * The calibration of a recipe. Of a file its name is told; the file has to be given beside the request. What the request could
 * not have (a seed where nothing is shuffled) is left out.
 */
export function requestedCalibration(
  recipe: RecipeChoice,
  options: StatedCalibration | CalibrationOptions | null,
): CalibrationRequest {
  if (!options) return USUAL_CALIBRATION;
  const { shuffle_calibration_samples: shuffle, moe_calibrate_all_experts: allExperts } = options;
  const propagates = recipe.kind === "yaml" || quantizerOf(recipe.method.name).calibrates;
  return {
    ...requestedSource(options.source),
    samples: options.num_calibration_samples,
    maxSeqLength: options.max_seq_length,
    seed: shuffle ? options.seed : null,
    shuffle,
    propagateError: !propagates || options.propagate_error,
    allExperts,
    minExpertTokens: allExperts ? null : options.moe_min_tokens_per_expert,
    hiddenStates: options.hidden_states_dtype,
    forwardProducts: options.forward_products,
  };
}

function requestedSource(
  source: StatedCalibration["source"] | CalibrationOptions["source"],
): Pick<CalibrationRequest, "file" | "dataset"> {
  if (source.kind === "dataset") {
    const { name, config, split, column } = source;
    return { file: null, dataset: { name, config, split, column } };
  }
  if (source.kind !== "file") return { file: null, dataset: null };
  const name = "name" in source ? source.name : source.file.name;
  return { file: { name, text: null, column: source.column }, dataset: null };
}
