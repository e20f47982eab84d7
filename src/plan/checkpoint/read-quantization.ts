// The `quantization_config` of a model that is quantized already, as compressed-tensors writes it: which scheme a module has.

import * as v from "valibot";
import { MalformedModelError, RecipeError, UnsupportedModelError } from "../../errors.ts";
import {
  COMPRESSION_FORMATS,
  type QuantizationArgs,
  type QuantizationScheme,
  STRATEGIES,
  weightArgs,
} from "../../formats/schemes/quantization-args.ts";
import { quantizationField } from "../../formats/schemes/quantization-field.ts";
import { groupsOf, type Recipe } from "../../formats/recipe/recipe.ts";
import { issueText, shorten, showValue } from "../../formats/text/show-value.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { matchGroup } from "../targets/match-targets.ts";

const bits = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(16));
/** Rows and columns of a weight stay below. */
const MAX_SIZE = 2 ** 31;
const size = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SIZE));
const groupSize = v.pipe(v.number(), v.integer(), v.minValue(-1), v.maxValue(MAX_SIZE));
const texts = v.pipe(v.array(v.pipe(v.string(), v.maxLength(1000))), v.maxLength(100_000));

/** "128x128", as earlier releases wrote the sizes of a block. */
const blockText = v.pipe(
  v.string(),
  v.regex(/^\d{1,6}x\d{1,6}$/),
  v.transform((text) => text.split("x").map(Number)),
  v.strictTuple([size, size]),
);

const argsSchema = v.looseObject({
  num_bits: bits,
  type: v.picklist(["int", "float"]),
  symmetric: v.boolean(),
  strategy: v.picklist(STRATEGIES),
  group_size: v.optional(v.nullable(groupSize), null),
  block_structure: v.optional(v.nullable(v.union([v.tuple([size, size]), blockText])), null),
  dynamic: v.optional(v.union([v.boolean(), v.literal("local")]), false),
  actorder: v.optional(v.unknown(), null),
  scale_dtype: v.optional(v.nullable(v.string()), null),
});

const groupSchema = v.looseObject({
  targets: texts,
  weights: v.nullish(argsSchema),
  input_activations: v.nullish(argsSchema),
  format: v.nullish(v.picklist(COMPRESSION_FORMATS)),
});

const configSchema = v.looseObject({
  quant_method: v.literal("compressed-tensors"),
  format: v.nullish(v.string()),
  config_groups: v.record(v.string(), groupSchema),
  ignore: v.nullish(texts),
  kv_cache_scheme: v.nullish(argsSchema),
});

export interface StoredQuantization {
  /** The scheme of a module, or null for one that stays as it was. */
  schemeOf(module: string): QuantizationScheme | null;
  /** The scheme of the model's only group that quantizes weights; null if it has several, or none. */
  readonly onlyScheme: QuantizationScheme | null;
  /** "pack-quantized", "mixed-precision"; null if config.json does not say. */
  readonly format: string | null;
  /** How the key-value cache is quantized, or null. */
  readonly kvCache: QuantizationArgs | null;
}

/**
 * Reads how a model is quantized; null if config.json says nothing of it.
 * @throws UnsupportedModelError for another method than compressed-tensors.
 * @throws MalformedModelError if the field breaks compressed-tensors' form.
 */
export function readQuantization(config: Readonly<Record<string, unknown>>): StoredQuantization | null {
  const raw = quantizationField(config);
  if (raw === null) return null;
  const method = raw["quant_method"];
  if (method !== "compressed-tensors") {
    throw new UnsupportedModelError(
      `config.json names the quantization method ${method === undefined ? "of nobody" : showValue(method)}; only compressed-tensors can be read here.`,
    );
  }
  const checked = v.safeParse(configSchema, raw);
  if (!checked.success) {
    const [issue] = checked.issues;
    throw new MalformedModelError(
      `config.json: quantization_config.${shorten(v.getDotPath(issue) ?? "")} is wrong: ${issueText(issue)}`,
    );
  }
  const { config_groups, ignore, format, kv_cache_scheme } = checked.output;
  const recipe = recipeOf(config_groups, ignore ?? [], format ?? null);
  const classes = linearClasses(config);
  const known = new Map<string, QuantizationScheme | null>();
  // Every pattern is compiled here, so that a bad one is told at once.
  ofConfig(() => matchGroup("", recipe));
  const [only, ...others] = groupsOf(recipe).filter(({ scheme }) => scheme.weights !== null);
  return {
    schemeOf(module) {
      const found = known.get(module);
      if (found !== undefined) return found;
      const names = [...classes.loadedAs(module), module];
      const scheme = ofConfig(() => matchGroup(names, recipe))?.group.scheme ?? null;
      known.set(module, scheme);
      return scheme;
    },
    onlyScheme: only && others.length === 0 ? only.scheme : null,
    format: format ?? null,
    kvCache: kv_cache_scheme ? argsOf(kv_cache_scheme) : null,
  };
}

/** What is wrong with a pattern is not a recipe's fault here. */
function ofConfig<Result>(match: () => Result): Result {
  try {
    return match();
  } catch (cause) {
    if (!(cause instanceof RecipeError)) throw cause;
    throw new MalformedModelError(`config.json: quantization_config: ${cause.message}`, { cause });
  }
}

type StoredArgs = v.InferOutput<typeof argsSchema>;

function recipeOf(
  groups: Readonly<Record<string, v.InferOutput<typeof groupSchema>>>,
  ignore: readonly string[],
  modelFormat: string | null,
): Recipe {
  const configGroups = Object.entries(groups).map(
    ([name, { targets, weights, input_activations, format }]) => {
      const own = format ?? COMPRESSION_FORMATS.find((candidate) => candidate === modelFormat);
      const scheme: QuantizationScheme = {
        weights: weights ? argsOf(weights) : null,
        input_activations: input_activations ? argsOf(input_activations) : null,
        ...(own ? { format: own } : {}),
      };
      return { name, preset: null, scheme, targets };
    },
  );
  const modifier = {
    name: "QuantizationModifier",
    groups: configGroups,
    ignore,
    kv_cache_scheme: null,
  } as const;
  return { modifiers: [modifier] };
}

function argsOf({ num_bits, type, symmetric, strategy, ...args }: StoredArgs): QuantizationArgs {
  const { group_size, block_structure, dynamic, actorder } = args;
  const scaleDtypes = ["torch.float8_e4m3fn", "torch.uint8"] as const;
  return weightArgs({
    num_bits,
    type,
    symmetric,
    strategy,
    group_size: group_size !== null && group_size > 0 ? group_size : null,
    block_structure,
    dynamic,
    actorder: actorder === "group" ? "group" : null,
    scale_dtype: scaleDtypes.find((dtype) => dtype === args.scale_dtype) ?? null,
  });
}
