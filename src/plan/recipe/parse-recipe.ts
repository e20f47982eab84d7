// LLM Compressor's YAML to a recipe: `<name>_stage: <name>_modifiers: <Modifier>: arguments` (`Recipe.from_dict`), schemes
// resolved as `QuantizationMixin.resolve_quantization_config` does.

import type { RecipeError } from "../../errors.ts";
import { nearestWord } from "../../formats/text/nearest-word.ts";
import { findScheme } from "../../formats/schemes/presets.ts";
import { showValue } from "../../formats/text/show-value.ts";
import type { QuantizationArgs, QuantizationScheme } from "../../formats/schemes/quantization-args.ts";
import { type QuantizerName, QUANTIZERS } from "../../formats/modifiers/quantizers.ts";
import { SPIN_QUANT } from "../../formats/modifiers/spinquant.ts";
import type { ConfigGroup, Modifier, QuantizingModifier, Recipe } from "../../formats/recipe/recipe.ts";
import { type Checked, checkActivations, checkWeights } from "./check-args.ts";
import { checkTargets } from "./check-targets.ts";
import { checkOrder, parseRewriter, quantizesToo, REWRITER_NAMES } from "./parse-rewriter.ts";
import { gptqSettings, orderedGroup, refinement } from "./parse-gptq.ts";
import { parseRotation } from "./parse-rotation.ts";
import { checkObservers, withNamedObservers, withObservers } from "./recipe-observers.ts";
import { type RecipeDocument, readRecipeDocument } from "./recipe-document.ts";
import {
  gptqModifierSchema,
  type ParsedArgs,
  type ParsedGroup,
  type ParsedModifier,
  quantizationModifierSchema,
} from "./recipe-schema.ts";
import { awqQuantizationSchema } from "./rewriter-schema.ts";

const SUPPORTED: readonly string[] = [
  ...QUANTIZERS.map(({ name }) => name),
  ...REWRITER_NAMES,
  SPIN_QUANT.name,
];
/** Modifiers that LLM Compressor has and this program has not. */
const ELSEWHERE = [
  "AutoRoundModifier",
  "QuIPModifier",
  "SparseGPTModifier",
  "WandaPruningModifier",
  "MagnitudePruningModifier",
  "ConstantPruningModifier",
  "REAPPruningModifier",
  "LogarithmicEqualizationModifier",
];

type Path = readonly string[];

/**
 * Parses a recipe.
 * @throws RecipeError that names line, column and reason.
 */
export function parseRecipe(text: string): Recipe {
  const document = readRecipeDocument(text);
  const [rotating, ...paths] = rotationFirst(document);
  const placed = paths.flatMap((path) =>
    parseModifiers(document, path).map((modifier) => ({ path, modifier })),
  );
  if (placed.length === 0) {
    throw document.errorAt(
      rotating ?? [],
      `The recipe quantizes nothing. Write ${example("QuantizationModifier")}`,
    );
  }
  checkOrder(document, placed);
  const modifiers = placed.map(({ modifier }) => modifier);
  return rotating ? { rotation: parseRotation(document, rotating), modifiers } : { modifiers };
}

function example(modifier: string): string {
  return `default_stage, in it default_modifiers, in it ${modifier} with its arguments.`;
}

/** The path of the modifier that rotates, or null, and those of all others, in the recipe's order. */
function rotationFirst(document: RecipeDocument): [Path | null, ...Path[]] {
  const [first, ...others] = modifierPaths(document);
  if (!first) return [null];
  const late = others.find((path) => path.at(-1) === SPIN_QUANT.name);
  if (late) {
    throw document.errorAt(
      late,
      `${SPIN_QUANT.name} turns the whole model: name it once, as the first modifier`,
    );
  }
  return first.at(-1) === SPIN_QUANT.name ? [first, ...others] : [null, first, ...others];
}

/** Paths of all modifiers, in the recipe's order. */
function modifierPaths(document: RecipeDocument): Path[] {
  const stages = document.keysAt([]);
  if (!stages)
    throw document.errorAt([], `The recipe is not a mapping. Write ${example("QuantizationModifier")}`);
  return stages.flatMap((stage) => {
    if (stage === "args") return noVariables(document);
    if (!stage.endsWith("_stage")) throw misplaced(document, [stage], "_stage");
    return keysOf(document, [stage]).flatMap((group) => {
      if (!group.endsWith("_modifiers")) throw misplaced(document, [stage, group], "_modifiers");
      return keysOf(document, [stage, group]).map((modifier) => [stage, group, modifier]);
    });
  });
}

/** LLM Compressor writes an empty `args` of itself, and fills in nothing from one that has names. */
function noVariables(document: RecipeDocument): never[] {
  const [name] = document.keysAt(["args"]) ?? [];
  if (name === undefined) return [];
  throw document.errorAt(
    ["args", name],
    `Nothing is filled in from args: write ${showValue(name)} where it belongs, and leave args out`,
  );
}

function keysOf(document: RecipeDocument, path: Path): string[] {
  const keys = document.keysAt(path);
  if (!keys) throw document.errorAt(path, `${path.at(-1)} is not a mapping`);
  return keys;
}

function misplaced(document: RecipeDocument, path: Path, ending: "_stage" | "_modifiers"): RecipeError {
  const name = path.at(-1) ?? "";
  if ([...SUPPORTED, ...ELSEWHERE].includes(name)) {
    return document.errorAt(path, `${name} stands outside of a stage. Write ${example(name)}`);
  }
  if (["string", "number", "boolean"].includes(typeof document.valueAt(path))) {
    return document.errorAt(path, `Nothing would be done for ${showValue(name)} here: leave it out`);
  }
  return document.errorAt(
    path,
    `"${name}" should end in "${ending}". Write ${example("QuantizationModifier")}`,
  );
}

/** One modifier, or the two that an AWQModifier with a scheme stands for. */
function parseModifiers(document: RecipeDocument, path: Path): Modifier[] {
  if (!REWRITER_NAMES.includes(path.at(-1) ?? "")) return [parseQuantizer(document, path)];
  const rewriter = parseRewriter(document, path);
  if (!quantizesToo(document, path)) return [rewriter];
  const parsed = document.parseAt(path, awqQuantizationSchema);
  return [rewriter, quantizingModifier(document, path, "QuantizationModifier", parsed)];
}

function parseQuantizer(document: RecipeDocument, path: Path): QuantizingModifier {
  const name = path.at(-1) ?? "";
  if (name !== "QuantizationModifier" && name !== "GPTQModifier") throw unknownModifier(document, path, name);
  if (document.valueAt(path) === null) {
    throw document.errorAt(path, `${name} has no arguments: give it a scheme or config_groups`);
  }
  const parsed: ParsedModifier = document.parseAt(
    path,
    name === "GPTQModifier" ? gptqModifierSchema : quantizationModifierSchema,
  );
  return quantizingModifier(document, path, name, parsed);
}

function quantizingModifier(
  document: RecipeDocument,
  path: Path,
  name: QuantizerName,
  parsed: ParsedModifier,
): QuantizingModifier {
  checkTargets(document, path, parsed);
  const plain = resolveGroups(document, path, parsed);
  checkObservers(document, path, plain, parsed);
  const groups = plain.map((group) => withObservers(document, path, group, parsed));
  const { ignore } = parsed;
  const kv_cache_scheme = resolveCache(document, path, parsed);
  if (name === "QuantizationModifier") {
    const settings = refinement(document, path, groups, parsed);
    return { name, groups, ignore, kv_cache_scheme, ...(settings ? { settings } : {}) };
  }
  return {
    name,
    groups: groups.map((group) => orderedGroup(document, path, group, parsed)),
    ignore,
    kv_cache_scheme,
    settings: gptqSettings(document, path, groups, parsed),
  };
}

function unknownModifier(document: RecipeDocument, path: Path, name: string): RecipeError {
  const supported = `${SUPPORTED.slice(0, -1).join(", ")} and ${SUPPORTED.at(-1)}`;
  if (ELSEWHERE.includes(name)) {
    return document.errorAt(path, `${name} is LLM Compressor's, but is not supported here; ${supported} are`);
  }
  const near = nearestWord(name, [...SUPPORTED, ...ELSEWHERE]);
  return document.errorAt(
    path,
    `There is no modifier "${name}". ${near ? `Did you mean ${near}?` : `Supported are ${supported}.`}`,
  );
}

/** A group without targets is how recipes for the key-value cache alone say that no weight is meant. */
function resolveGroups(document: RecipeDocument, path: Path, parsed: ParsedModifier): ConfigGroup[] {
  const groups = namedGroups(document, path, parsed);
  return parsed.kv_cache_scheme ? groups.filter(({ targets }) => targets.length > 0) : groups;
}

function namedGroups(document: RecipeDocument, path: Path, parsed: ParsedModifier): ConfigGroup[] {
  const { scheme, config_groups, targets } = parsed;
  if (scheme && config_groups) {
    throw document.errorAt([...path, "scheme"], "Give either scheme or config_groups, not both");
  }
  if (scheme) {
    const presets = typeof scheme === "string" ? { [scheme]: targets } : scheme;
    return Object.entries(presets).map(([name, of], index) => presetGroup(name, of, index));
  }
  const groups = Object.entries(config_groups ?? {});
  if (groups.length > 0) {
    return groups.map(([name, group]) => ({
      name,
      preset: null,
      scheme: resolveScheme(document, [...path, "config_groups", name], withNamedObservers(group, parsed)),
      targets: group.targets,
    }));
  }
  if (parsed.kv_cache_scheme) return [];
  throw document.errorAt(
    path,
    `${path.at(-1)} says nothing to quantize to: give it a scheme or config_groups`,
  );
}

function presetGroup(name: string, targets: readonly string[], index: number): ConfigGroup {
  const found = findScheme(name);
  if (!found) throw new Error(`Defect: the preset ${name} was checked`);
  return { name: `group_${index}`, preset: found.name, scheme: found.scheme, targets };
}

function resolveScheme(document: RecipeDocument, path: Path, group: ParsedGroup): QuantizationScheme {
  const resolve = (field: "weights" | "input_activations", check: (args: ParsedArgs) => Checked) => {
    const parsed = group[field];
    return parsed ? argsAt(document, [...path, field], check(parsed)) : null;
  };
  const scheme = {
    weights: resolve("weights", checkWeights),
    input_activations: resolve("input_activations", (args) => checkActivations(args, "inputs")),
  };
  if (scheme.input_activations && !scheme.weights) {
    throw document.errorAt(
      [...path, "input_activations"],
      `${path.at(-1)} quantizes inputs and no weights, which would leave every file as it is: give it weights, or leave it out`,
    );
  }
  const problem = group.format && formatProblem(scheme.weights, group.format);
  if (problem) throw document.errorAt([...path, "format"], problem);
  return group.format ? { ...scheme, format: group.format } : scheme;
}

function argsAt(document: RecipeDocument, path: Path, checked: Checked): QuantizationArgs {
  if ("problem" in checked) throw document.errorAt(path, checked.problem);
  return checked.args;
}

/** A format that the weights' codes cannot be stored in. */
function formatProblem(
  weights: QuantizationArgs | null,
  format: NonNullable<ParsedGroup["format"]>,
): string | null {
  if (!weights) return `The format ${format} needs weights`;
  const fitting =
    weights.type === "int"
      ? ["pack-quantized", "int-quantized", "naive-quantized"]
      : weights.num_bits === 4
        ? [weights.group_size === 32 ? "mxfp4-pack-quantized" : "nvfp4-pack-quantized"]
        : weights.scale_dtype
          ? ["mxfp8-quantized"]
          : ["float-quantized", "naive-quantized"];
  return fitting.includes(format)
    ? null
    : `These weights cannot have the format ${format}; ${fitting.join(" or ")} would do`;
}

function resolveCache(document: RecipeDocument, path: Path, parsed: ParsedModifier): QuantizationArgs | null {
  const { kv_cache_scheme } = parsed;
  if (!kv_cache_scheme) return null;
  return argsAt(document, [...path, "kv_cache_scheme"], checkActivations(kv_cache_scheme, "cache"));
}
