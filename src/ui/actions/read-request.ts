// What a script asks for, as the controls say it; and what of it would be done nothing for, which is refused.

import { invariant, RecipeError } from "../../errors.ts";
import { BEST_PREFIX, bestRecipe } from "../../formats/modifiers/best.ts";
import { quantizerOf } from "../../formats/modifiers/quantizers.ts";
import { bestNamed, readRecipeChoice } from "../state/recipe/read-recipe-choice.ts";
import { readScheme, UNQUANTIZED } from "../state/recipe/read-scheme.ts";
import { choiceUse } from "../state/recipe/recipe-fields.ts";
import type { RecipeChoice } from "../../api/job-options.ts";
import type { CalibrationRequest, CompressRequest, RecipeRequest } from "../../api/script-api.ts";

/**
 * The recipe that a script or a link asks for.
 * @throws RecipeError if it is none, or has an option that it cannot have or that would change nothing
 */
export function readRequest({
  recipe: asked,
  calibration,
}: Pick<CompressRequest, "recipe" | "calibration">): RecipeChoice {
  const recipe = recipeOf(asked);
  refuseContradictions(calibration);
  if (recipe.kind === "yaml") return recipe;
  const { calibrates } = quantizerOf(recipe.method.name);
  if (choiceUse(recipe) === "no") refuseCalibration(calibration);
  if (!calibrates && !calibration.propagateError)
    throw new RecipeError(
      `propagate_error changes nothing for ${recipe.scheme}: what is rounded to nearest passes on its original weights. Leave it out.`,
    );
  return recipe;
}

export interface AskedRecipes {
  readonly recipe: RecipeChoice;
  readonly beside: readonly RecipeChoice[];
  readonly along: RecipeChoice | null;
}

/**
 * All recipes of a request. What is said of a calibration has to mean something for one of them, not for each.
 * @throws RecipeError as `readRequest` does
 */
export function readRecipes({
  recipe,
  beside = [],
  along = null,
  calibration,
}: Pick<CompressRequest, "recipe" | "beside" | "along" | "calibration">): AskedRecipes {
  if (beside.length === 0 && !along)
    return { recipe: readRequest({ recipe, calibration }), beside: [], along: null };
  refuseContradictions(calibration);
  const read = (asked: RecipeRequest) => recipeOf(asked);
  const all = [recipe, ...beside].map(read);
  const needing = all.filter((choice) => choiceUse(choice) !== "no");
  if (needing.length === 0) refuseCalibration(calibration);
  const [first, ...others] = all;
  invariant(first, "a request has a recipe");
  return { recipe: first, beside: others, along: along && read(along) };
}

/**
 * Refuses what only a calibration would look at.
 * @throws RecipeError that names all of it
 */
export function refuseCalibration(asked: CalibrationRequest): void {
  const { file, dataset, samples, maxSeqLength, seed, minExpertTokens } = asked;
  const options: readonly (readonly [string, boolean])[] = [
    ["a calibration text", file !== null],
    ["a data set", dataset !== null],
    ["num_calibration_samples", samples !== null],
    ["max_seq_length", maxSeqLength !== null],
    ["a seed", seed !== null],
    ["the order of samples", !asked.shuffle],
    ["propagate_error", !asked.propagateError],
    ["moe_calibrate_all_experts", !asked.allExperts],
    ["moe_min_tokens_per_expert", minExpertTokens !== null],
    ["hidden_states_dtype", asked.hiddenStates !== "F32"],
    ["forward_products", asked.forwardProducts !== "AUTO"],
  ];
  const idle = options.flatMap(([name, given]) => (given ? [name] : []));
  if (idle.length === 0) return;
  throw new RecipeError(
    `The recipe needs no calibration: ${idle.join(", ")} would change nothing. Leave ${idle.length === 1 ? "it" : "them"} out, or ask for a recipe that calibrates, such as gptq-W4A16.`,
  );
}

function refuseContradictions({ seed, shuffle, allExperts, minExpertTokens }: CalibrationRequest): void {
  if (seed !== null && !shuffle)
    throw new RecipeError(
      `The seed ${seed} changes nothing where samples are not shuffled. Leave one of both out.`,
    );
  if (minExpertTokens !== null && allExperts)
    throw new RecipeError(
      "moe_min_tokens_per_expert changes nothing where every expert is calibrated on all tokens. Leave it out, or calibrate experts on the tokens that are routed to them.",
    );
}

/** What pays at few bits, with what of it may be asked for otherwise. */
function bestOf(scheme: string, { groupSize, ignore, ...others }: Omit<RecipeRequest, "text">): RecipeChoice {
  if (Object.values(others).some((value) => value !== null))
    throw new RecipeError(
      `${BEST_PREFIX}${scheme} says itself how ranges and codes are chosen: observer, dampening_frac, actorder and AWQ’s loss cannot be given beside it. Write it as YAML to change them.`,
    );
  return { kind: "yaml", text: bestRecipe(scheme, groupSize, ignore ?? undefined) };
}

function recipeOf({ text, ...asked }: RecipeRequest): RecipeChoice {
  const best = bestNamed(text);
  if (best !== null) return bestOf(best, asked);
  const choice = readRecipeChoice(text);
  const details = Object.values(asked).some((value) => value !== null);
  if (choice.kind === "yaml") {
    if (details)
      throw new RecipeError(
        "A recipe in YAML says everything itself: group size, ignore, observer and the options of GPTQ and AWQ cannot be given beside it.",
      );
    return choice;
  }
  if (choice.scheme === UNQUANTIZED) {
    if (details) throw new RecipeError("UNQUANTIZED dequantizes every weight; it takes no options.");
    return choice;
  }
  const { method, scheme } = choice;
  const facts = readScheme(scheme);
  if (asked.groupSize !== null && (facts?.groupSize === null || facts?.fixedGroups))
    throw new RecipeError(
      facts.groupSize === null
        ? `${scheme} has no groups of columns; it takes no group size.`
        : `${scheme} is a format with groups of ${facts.groupSize}; they cannot be changed.`,
    );
  if (asked.actorder === "group" && facts?.groupSize === null)
    throw new RecipeError(
      `${scheme} has no groups of columns, of which the actorder group would choose the order. Take static, or none.`,
    );
  if (method.name !== "GPTQModifier" && (asked.dampeningFrac !== null || asked.actorder !== null))
    throw new RecipeError(`dampening_frac and actorder are options of GPTQ. Ask for gptq-${scheme}.`);
  const { awqLoss = null } = asked;
  if (awqLoss !== null && choice.rewriter !== "AWQModifier")
    throw new RecipeError(`The loss of AWQ’s search changes nothing without AWQ. Ask for awq-${scheme}.`);
  return {
    ...choice,
    ...(awqLoss === "block" ? { awq_loss: awqLoss } : {}),
    group_size: asked.groupSize ?? choice.group_size,
    ignore: asked.ignore ?? choice.ignore,
    observer: asked.observer ?? choice.observer,
    method:
      method.name === "GPTQModifier"
        ? {
            ...method,
            dampening_frac: asked.dampeningFrac ?? method.dampening_frac,
            actorder: asked.actorder === "none" ? null : (asked.actorder ?? method.actorder),
          }
        : method,
  };
}
