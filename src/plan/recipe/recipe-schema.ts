// The shape of a recipe's modifiers, as LLM Compressor's classes define it (`QuantizationMixin`, `GPTQModifier`,
// compressed-tensors `QuantizationArgs`). Each message says what is wrong, and the word that was probably meant.

import * as v from "valibot";
import { nearestWord } from "../../formats/text/nearest-word.ts";
import { REFINE_SETTINGS } from "../../formats/modifiers/gptq.ts";
import { findScheme, PRESET_NAMES, UNQUANTIZED } from "../../formats/schemes/presets.ts";
import { COMPRESSION_FORMATS, OBSERVERS, STRATEGIES } from "../../formats/schemes/quantization-args.ts";
import { showValue } from "../../formats/text/show-value.ts";

/** More rounds or passes than ever changed a code. */
const MAX_REFINEMENTS = 32;
const MAX_STRINGS = 1000;
const MAX_STRING_LENGTH = 1000;

/** "… did you mean …", or what there is. */
export function suggest(typed: unknown, words: readonly string[]): string {
  const near = typeof typed === "string" ? nearestWord(typed, words) : null;
  return near ? `Did you mean ${near}?` : `Known are ${words.join(", ")}.`;
}

export function oneOf<const Words extends readonly string[]>(what: string, words: Words) {
  const message = ({ input }: v.BaseIssue<unknown>) =>
    `${showValue(input)} is not ${what}. ${suggest(input, words)}`;
  return v.pipe(v.unknown(), v.transform(lowerCase), v.picklist(words, message));
}

function lowerCase(value: unknown): unknown {
  return typeof value === "string" ? value.toLowerCase() : value;
}

/** An object whose keys are all known; a missing or an unknown one is named. */
export function fields<Entries extends v.ObjectEntries>(what: string, entries: Entries) {
  return v.strictObject(entries, (issue) => {
    if (issue.expected === "never") {
      return `${showValue(issue.input)} is not a field of ${what}. ${suggest(issue.input, Object.keys(entries))}`;
    }
    // A missing key is expected by its name in quotes, a wrong type by the name of the type.
    if (issue.expected?.startsWith('"')) return `${what} lacks ${issue.expected}`;
    return `${showValue(issue.input)} stands where ${what} should be`;
  });
}

export function must(be: string) {
  return (issue: v.BaseIssue<unknown>) => `${showValue(issue.input)} is not ${be}`;
}

/** A field that LLM Compressor knows and that nothing would be done for here. */
export function absent(sentence: string) {
  return v.nullish(v.custom<never>(() => false, sentence));
}

const noOutputs = absent("is about output activations, which are not quantized here: leave it out");

const truth = v.boolean(must("true or false"));
export const text = v.pipe(v.string(must("text")), v.maxLength(MAX_STRING_LENGTH, "is longer than any name"));
export const texts = v.pipe(
  v.array(text, must("a list of names and patterns")),
  v.maxLength(MAX_STRINGS, "has more entries than any recipe needs"),
);
export const oneOrMore = v.union(
  [
    v.pipe(
      text,
      v.transform((single) => [single]),
    ),
    texts,
  ],
  must("a name or a list of names and patterns"),
);
export const real = v.pipe(v.number(must("a number")), v.finite(must("a finite number")));

function whole(least: number, most: number) {
  const message = must(`a whole number from ${least} to ${most}`);
  return v.pipe(v.number(message), v.integer(message), v.minValue(least, message), v.maxValue(most, message));
}

const torchDtype = v.pipe(
  v.unknown(),
  v.transform((value) => (typeof value === "string" ? `torch.${value.replace(/^torch\./, "")}` : value)),
  v.picklist(
    ["torch.float8_e4m3fn", "torch.uint8", "torch.int8"],
    must("float8_e4m3fn (NVFP4), uint8 (MX) or int8"),
  ),
);

const block = v.union(
  [
    v.strictTuple([whole(1, 65_536), whole(1, 65_536)]),
    v.pipe(
      v.string(),
      v.regex(/^\d{1,5}x\d{1,5}$/),
      v.transform((value) => value.split("x").map(Number) as [number, number]),
    ),
  ],
  must("a block such as [128, 128]"),
);

const actorder = v.union(
  [
    v.pipe(
      v.literal(false),
      v.transform(() => null),
    ),
    v.pipe(
      oneOf("an actorder", ["static", "weight"]),
      v.transform(() => "static" as const),
    ),
    v.pipe(
      oneOf("an actorder", ["group", "dynamic"]),
      v.transform(() => "group" as const),
    ),
  ],
  must('an actorder: "static" (or "weight"), "group", or null'),
);

const observer = oneOf("an observer", OBSERVERS);

export const argsSchema = fields("quantization arguments", {
  num_bits: v.optional(whole(1, 8), 8),
  type: v.optional(oneOf("a type", ["int", "float"]), "int"),
  symmetric: v.optional(truth, true),
  group_size: v.nullish(whole(-1, 65_536)),
  strategy: v.nullish(oneOf("a strategy", STRATEGIES)),
  block_structure: v.nullish(block),
  dynamic: v.optional(v.union([v.boolean(), v.literal("local")], must('true, false or "local"')), false),
  actorder: v.nullish(actorder),
  scale_dtype: v.nullish(torchDtype),
  zp_dtype: v.nullish(torchDtype),
  observer: v.nullish(observer),
  observer_kwargs: v.nullish(v.record(v.string(), v.unknown(), must("a mapping of options"))),
});

export type ParsedArgs = v.InferOutput<typeof argsSchema>;

export const groupSchema = fields("a config group", {
  targets: texts,
  weights: v.nullish(argsSchema),
  input_activations: v.nullish(argsSchema),
  output_activations: absent("output_activations cannot be quantized here: leave them out"),
  format: v.nullish(oneOf("a format", COMPRESSION_FORMATS)),
});

export type ParsedGroup = v.InferOutput<typeof groupSchema>;

const presetName = v.pipe(
  text,
  v.check(
    (name) => findScheme(name) !== null,
    ({ input }) => `${showValue(input)} is not a preset. ${suggest(input, [...PRESET_NAMES, UNQUANTIZED])}`,
  ),
);
const presetTargets = v.record(presetName, oneOrMore, must("a preset, or a mapping of presets to targets"));

export const observerNames = fields("observer", {
  weights: v.nullish(observer),
  input: v.nullish(observer),
  output: noOutputs,
});

const untimed = absent("tells when a modifier runs in a training, and there is none here: leave it out");

/** Fields of every modifier in LLM Compressor. */
export const schedule = {
  index: untimed,
  group: untimed,
  start: untimed,
  end: untimed,
  update: untimed,
  // LLM Compressor writes it down of itself: what follows from the other fields.
  requires_calibration_data: v.nullish(truth),
};

/** Fields of every modifier that chooses codes. */
export const quantization = {
  ...schedule,
  config_groups: v.nullish(v.record(text, groupSchema, must("a mapping of groups"))),
  targets: v.optional(oneOrMore, ["Linear"]),
  ignore: v.optional(texts, []),
  scheme: v.nullish(v.lazy((input) => (typeof input === "string" ? presetName : presetTargets))),
  kv_cache_scheme: v.nullish(argsSchema),
  weight_observer: v.nullish(observer),
  input_observer: v.nullish(observer),
  output_observer: noOutputs,
  observer: v.nullish(observerNames),
  bypass_divisibility_checks: v.optional(
    v.literal(
      false,
      "cannot be true here: groups that columns do not fill have no form that loaders agree on",
    ),
    false,
  ),
};

const refine = v.nullish(
  fields("refine", {
    rounds: v.optional(whole(1, MAX_REFINEMENTS), REFINE_SETTINGS.rounds),
    passes: v.optional(whole(0, MAX_REFINEMENTS), REFINE_SETTINGS.passes),
  }),
);

export const quantizationModifierSchema = fields("QuantizationModifier", { ...quantization, refine });
const share = must("a share above 0 and at most 1");
const drift = v.nullish(v.pipe(real, v.gtValue(0, share), v.maxValue(1, share)));

export const gptqModifierSchema = fields("GPTQModifier", {
  ...quantization,
  block_size: v.optional(whole(1, 65_536), 128),
  dampening_frac: v.nullish(v.pipe(real, v.minValue(0, must("a damping of at least 0")))),
  actorder: v.nullish(actorder),
  refine,
  drift,
  // How LLM Compressor spends memory and time; the result depends neither on them nor, but for rounding, on block_size.
  offload_hessians: v.nullish(v.unknown()),
  batched_quantization: v.nullish(v.unknown()),
});

type ParsedGptq = v.InferOutput<typeof gptqModifierSchema>;
/** Arguments of either modifier; only GPTQ's has what is partial. */
export type ParsedModifier = v.InferOutput<typeof quantizationModifierSchema> &
  Partial<Pick<ParsedGptq, "block_size" | "dampening_frac" | "actorder" | "drift">>;
