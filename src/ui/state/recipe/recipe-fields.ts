import { type Signal, signal } from "@preact/signals";
import { DEFAULT_IGNORE } from "../../../formats/modifiers/default-ignore.ts";
import { usesImportance } from "../../../formats/schemes/quantization-args.ts";
import { DEFAULT_SCHEME } from "./preset-cards.ts";
import { type NumberRange, readNumber } from "../fields/read-number.ts";
import { DEQUANTIZE, METHOD_DEFAULTS, refusalOf, rewriterRefusal } from "./read-recipe-choice.ts";
import { readScheme, UNQUANTIZED } from "./read-scheme.ts";
import type { GptqControls, MethodControls, RecipeChoice, RecipeControls } from "../../../api/job-options.ts";
import { type RewriterName, rewriterOf } from "../../../formats/modifiers/rewriters.ts";
import { bestRecipe } from "../../../formats/modifiers/best.ts";
import { type QuantizerName, quantizerOf } from "../../../formats/modifiers/quantizers.ts";

/** The recipe controls as they stand, each as the user left it. */
export interface RecipeFields {
  readonly scheme: Signal<string>;
  /** How codes are chosen, where the preset takes it. */
  readonly method: Signal<QuantizerName>;
  /** What moves factors between tensors before, or null. */
  readonly rewriter: Signal<RewriterName | null>;
  /** True if AWQ runs each block for every scale that it tries. */
  readonly awqBlocks: Signal<boolean>;
  /** Null keeps the preset's own group size. */
  readonly groupSize: Signal<number | null>;
  /** Modules to leave as they are, as typed: names or `re:` patterns, separated by commas or white space. */
  readonly ignore: Signal<string>;
  /** GPTQ's damping, as typed. */
  readonly dampening: Signal<string>;
  readonly actorder: Signal<GptqControls["actorder"]>;
  readonly observer: Signal<RecipeControls["observer"]>;
  /** A recipe in YAML that decides instead of the controls, or null. */
  readonly yaml: Signal<string | null>;
}

export const DAMPENING_RANGE: NumberRange = { min: 0, max: 1, whole: false };

export function createRecipeFields(): RecipeFields {
  return {
    scheme: signal(DEFAULT_SCHEME),
    method: signal<QuantizerName>("QuantizationModifier"),
    rewriter: signal<RewriterName | null>(null),
    awqBlocks: signal(false),
    groupSize: signal<number | null>(null),
    ignore: signal(DEFAULT_IGNORE.join(", ")),
    dampening: signal(String(METHOD_DEFAULTS.GPTQModifier.dampening_frac)),
    actorder: signal(METHOD_DEFAULTS.GPTQModifier.actorder),
    observer: signal<RecipeControls["observer"]>("memoryless_minmax"),
    yaml: signal<string | null>(null),
  };
}

/** The method that is in force: the chosen one only where it takes the preset's weights. */
export function methodOf({ scheme, method }: RecipeFields): QuantizerName {
  const chosen = method.value;
  return refusalOf(quantizerOf(chosen), scheme.value) === null ? chosen : "QuantizationModifier";
}

/** What moves factors before that method; null where one of both does not take the preset. */
export function chosenRewriter(fields: RecipeFields): RewriterName | null {
  const chosen = fields.rewriter.value;
  if (chosen === null || methodOf(fields) !== fields.method.value) return null;
  return rewriterRefusal(rewriterOf(chosen), fields.scheme.value) === null ? chosen : null;
}

export type CalibrationUse = "no" | "yes" | "if-needed";

/** Whether a recipe looks at a text: for codes, for factors, for ranges of weights, or for scales of activations. */
export function choiceUse(choice: RecipeChoice): CalibrationUse {
  if (choice.kind === "yaml") return "if-needed";
  const { method, rewriter, observer, scheme } = choice;
  const needs =
    quantizerOf(method.name).calibrates ||
    rewriter !== undefined ||
    usesImportance({ observer }) ||
    (readScheme(scheme)?.calibrated ?? false);
  return needs ? "yes" : "no";
}

/** Whether the recipe needs a text; of one in YAML only the plan can tell. */
export function calibrationUse(fields: RecipeFields): CalibrationUse {
  if (fields.yaml.value !== null) return "if-needed";
  const measured = readScheme(fields.scheme.value)?.calibrated ?? false;
  const weighted = usesImportance({ observer: fields.observer.value });
  const collects = chosenRewriter(fields) !== null || quantizerOf(methodOf(fields)).calibrates;
  return measured || weighted || collects ? "yes" : "no";
}

/** What the controls mean; null while the damping is no number from 0 to 1. */
export function recipeChoice(fields: RecipeFields): RecipeChoice | null {
  if (fields.yaml.value !== null) return { kind: "yaml", text: fields.yaml.value };
  if (fields.scheme.value === UNQUANTIZED) return DEQUANTIZE;
  const facts = readScheme(fields.scheme.value);
  const method = methodControls(fields);
  if (method === null) return null;
  const rewriter = chosenRewriter(fields);
  return {
    kind: "controls",
    scheme: fields.scheme.value,
    group_size: facts?.groupSize === null || facts?.fixedGroups ? null : fields.groupSize.value,
    ignore: splitIgnore(fields.ignore.value),
    method,
    ...(rewriter ? { rewriter } : {}),
    ...(rewriter === "AWQModifier" && fields.awqBlocks.value ? { awq_loss: "block" } : {}),
    observer: fields.observer.value,
  };
}

/** What is best at few bits, with the group size and the ignored modules that the controls have. */
export function bestText({ scheme, groupSize, ignore }: RecipeFields): string {
  return bestRecipe(scheme.value, groupSize.value, splitIgnore(ignore.value));
}

/** The method and what was set for it; null while a field of its own says nothing that can be meant. */
function methodControls(fields: RecipeFields): MethodControls | null {
  const name = methodOf(fields);
  if (name === "QuantizationModifier") return { name };
  const dampening_frac = readNumber(fields.dampening.value, DAMPENING_RANGE);
  return dampening_frac === null ? null : { name, dampening_frac, actorder: orderOf(fields) };
}

/** True if groups of columns can be formed in the order of quantization: where there are some, and the format does not fix them. */
export function ordersGroups({ scheme }: Pick<RecipeFields, "scheme">): boolean {
  const facts = readScheme(scheme.value);
  return facts !== null && facts.groupSize !== null && !facts.fixedGroups;
}

/** The order that was chosen; of one that the scheme cannot have, the usual one. */
export function orderOf(fields: Pick<RecipeFields, "scheme" | "actorder">): GptqControls["actorder"] {
  const { value } = fields.actorder;
  return value === "group" && !ordersGroups(fields) ? METHOD_DEFAULTS.GPTQModifier.actorder : value;
}

/** Names and patterns between commas and white space; the comma of a pattern's `{1,2}` separates nothing. */
function splitIgnore(text: string): string[] {
  return text.split(/[\s,]+(?![^{}]*\})/).filter((name) => name !== "");
}

/** Sets the controls to what an earlier job used, or a link or script asks for. */
export function restoreRecipe(fields: RecipeFields, choice: RecipeChoice): void {
  if (choice.kind === "yaml") {
    fields.yaml.value = choice.text;
    return;
  }
  fields.yaml.value = null;
  fields.scheme.value = choice.scheme.toUpperCase();
  if (fields.scheme.value === UNQUANTIZED) return;
  fields.groupSize.value = choice.group_size;
  fields.ignore.value = choice.ignore.join(", ");
  fields.method.value = choice.method.name;
  fields.rewriter.value = choice.rewriter ?? null;
  fields.awqBlocks.value = choice.awq_loss === "block";
  fields.observer.value = choice.observer;
  if (choice.method.name === "QuantizationModifier") return;
  fields.dampening.value = String(choice.method.dampening_frac);
  fields.actorder.value = choice.method.actorder;
}
