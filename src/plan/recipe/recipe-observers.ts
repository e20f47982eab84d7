// The observers that a modifier names for all of its groups (`QuantizationMixin`: weight_observer, input_observer, observer).

import { isStaticActivation, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { ConfigGroup } from "../../formats/recipe/recipe.ts";
import { observerProblem } from "./check-args.ts";
import type { RecipeDocument } from "./recipe-document.ts";
import type { ParsedGroup, ParsedModifier } from "./recipe-schema.ts";

type Path = readonly string[];

const OBSERVED = ["weights", "input_activations"] as const;

function namedObservers({ observer, weight_observer, input_observer }: ParsedModifier) {
  return {
    weights: observer?.weights ?? weight_observer ?? null,
    input_activations: observer?.input ?? input_observer ?? null,
  };
}

/**
 * An observer has to have something to observe, be named once, and order columns only where codes are chosen in an order.
 * @throws RecipeError
 */
export function checkObservers(
  document: RecipeDocument,
  path: Path,
  groups: readonly ConfigGroup[],
  parsed: ParsedModifier,
): void {
  const { observer, weight_observer, input_observer, actorder } = parsed;
  const twice =
    (observer?.weights && weight_observer && "weight_observer") ||
    (observer?.input && input_observer && "input_observer");
  if (twice) throw document.errorAt([...path, twice], `observer names one too: give only one of them`);
  checkOwnObservers(document, path, parsed);
  const schemes = groups.map(({ scheme }) => scheme);
  if ((observer?.weights ?? weight_observer) && schemes.every(({ weights }) => !weights)) {
    const place = observer?.weights ? ["observer", "weights"] : ["weight_observer"];
    throw document.errorAt(
      [...path, ...place],
      "No weights are quantized that could be observed: leave it out",
    );
  }
  if (
    (observer?.input ?? input_observer) &&
    !schemes.some(({ input_activations }) => isStaticActivation(input_activations))
  ) {
    const place = observer?.input ? ["observer", "input"] : ["input_observer"];
    throw document.errorAt(
      [...path, ...place],
      "No inputs have static scales that could be observed (dynamic ones are computed as they come): leave it out",
    );
  }
  const ordered = groups.find(({ scheme }) => scheme.weights?.actorder);
  if (path.at(-1) === "QuantizationModifier" && ordered && actorder === undefined) {
    throw document.errorAt(
      path,
      `${ordered.name} has the actorder ${ordered.scheme.weights?.actorder}, but rounding to nearest has no order: leave it out, or take GPTQModifier`,
    );
  }
}

/** The modifier's observers take the place of the groups' (`_apply_observer_overrides`): another one there would do nothing. */
function checkOwnObservers(document: RecipeDocument, path: Path, parsed: ParsedModifier): void {
  const given = namedObservers(parsed);
  for (const [name, group] of Object.entries(parsed.config_groups ?? {})) {
    for (const field of OBSERVED) {
      const own = group[field]?.observer;
      if (!own || !given[field] || own === given[field]) continue;
      throw document.errorAt(
        [...path, "config_groups", name, field, "observer"],
        `The modifier names the observer ${given[field]} for all of its groups, and ${name} the observer ${own}: give only one of them`,
      );
    }
  }
}

/** A group whose options of observers are those of the ones that the modifier names. */
export function withNamedObservers(group: ParsedGroup, parsed: ParsedModifier): ParsedGroup {
  const given = namedObservers(parsed);
  const named = (field: (typeof OBSERVED)[number]) => {
    const args = group[field];
    return args?.observer_kwargs && !args.observer && given[field]
      ? { ...args, observer: given[field] }
      : args;
  };
  return { ...group, weights: named("weights"), input_activations: named("input_activations") };
}

/** Observers that the modifier names for all of its groups. The preset is then no longer itself. */
export function withObservers(
  document: RecipeDocument,
  path: Path,
  group: ConfigGroup,
  parsed: ParsedModifier,
): ConfigGroup {
  const { weights, input_activations: inputs } = namedObservers(parsed);
  if (!weights && !inputs) return group;
  const { scheme } = group;
  const problem = weights && scheme.weights && observerProblem({ ...scheme.weights, observer: weights });
  if (problem) throw document.errorAt(path, problem);
  const watch = (args: QuantizationArgs | null, observer: QuantizationArgs["observer"]) =>
    args && observer && args.dynamic !== true ? { ...args, observer } : args;
  return {
    ...group,
    preset: null,
    scheme: {
      ...scheme,
      weights: watch(scheme.weights, weights),
      input_activations: watch(scheme.input_activations, inputs),
    },
  };
}
