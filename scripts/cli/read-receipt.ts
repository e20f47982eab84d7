// A receipt.json of anybody's, read for making its result again. It says which model is fetched and which options are set, so
// that nothing of it is believed before its shape is known.

import * as v from "valibot";
import { FORWARD_PRODUCTS } from "../../src/formats/recipe/forward-products.ts";
import { REWRITERS } from "../../src/formats/modifiers/rewriters.ts";
import { WEIGHT_OBSERVERS } from "../../src/formats/schemes/quantization-args.ts";
import type { Receipt } from "../../src/api/receipt.ts";
import { parseJson } from "../../src/formats/text/parse-json.ts";
import { UsageError } from "./arguments/argument-readers.ts";

const MAX_NAME = 8192;
const MAX_RECIPE = 1_000_000;
const MAX_FILES = 20_000;

const name = v.pipe(v.string(), v.maxLength(MAX_NAME));
const nameOrNull = v.nullable(name);
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const recipeText = v.pipe(v.string(), v.maxLength(MAX_RECIPE));

const METHOD = v.variant("name", [
  v.object({ name: v.literal("QuantizationModifier") }),
  v.object({
    name: v.literal("GPTQModifier"),
    dampening_frac: v.pipe(v.number(), v.minValue(0), v.maxValue(1)),
    actorder: v.nullable(v.picklist(["static", "group"])),
  }),
]);

const RECIPE = v.variant("kind", [
  v.object({ kind: v.literal("yaml"), text: recipeText }),
  v.object({
    kind: v.literal("controls"),
    scheme: name,
    group_size: v.nullable(count),
    ignore: v.pipe(v.array(name), v.maxLength(MAX_FILES)),
    method: METHOD,
    rewriter: v.exactOptional(v.picklist(REWRITERS.map((rewriter) => rewriter.name))),
    awq_loss: v.exactOptional(v.literal("block")),
    observer: v.picklist(WEIGHT_OBSERVERS),
  }),
]);

const CALIBRATION = v.object({
  source: v.variant("kind", [
    v.object({ kind: v.literal("file"), name, column: nameOrNull }),
    v.object({ kind: v.literal("model") }),
    v.object({ kind: v.literal("dataset"), name, config: nameOrNull, split: name, column: nameOrNull }),
    v.object({ kind: v.literal("stored") }),
  ]),
  num_calibration_samples: count,
  max_seq_length: count,
  shuffle_calibration_samples: v.boolean(),
  seed: count,
  hidden_states_dtype: v.picklist(["F32", "BF16"]),
  forward_products: v.picklist(FORWARD_PRODUCTS),
  propagate_error: v.boolean(),
  moe_calibrate_all_experts: v.boolean(),
  moe_min_tokens_per_expert: count,
});

const PART = v.variant("kind", [
  v.object({
    kind: v.literal("layers"),
    first: count,
    last: count,
    forwardProducts: v.exactOptional(name),
  }),
  v.object({ kind: v.literal("rest") }),
]);

const RECEIPT = v.object({
  layout: v.literal(1),
  made_by: v.object({ program: name, version: name, commit: name }),
  source: v.object({
    address: nameOrNull,
    label: name,
    repository: nameOrNull,
    revision: nameOrNull,
    files: v.pipe(
      v.array(v.object({ path: name, bytes: count, version: nameOrNull })),
      v.maxLength(MAX_FILES),
    ),
  }),
  recipe: recipeText,
  options: v.object({
    recipe: RECIPE,
    calibration: v.nullable(CALIBRATION),
    gpu_budget_bytes: count,
    along: v.exactOptional(RECIPE),
    part: v.exactOptional(PART),
    share: v.exactOptional(v.object({ index: count, of: count })),
  }),
  calibration: v.nullable(v.object({ samples: count, tokens: count, sha256 })),
  adapter: v.object({ vendor: name, architecture: name, description: name, software: v.boolean() }),
  forward_products: v.exactOptional(name),
  files: v.pipe(v.array(v.object({ path: name, bytes: count, sha256 })), v.maxLength(MAX_FILES)),
});

/**
 * Reads a receipt.
 * @throws UsageError that names the field that is not as receipts have it
 */
export function readReceipt(text: string, path: string): Receipt {
  const read = v.safeParse(RECEIPT, parseJson(`The receipt ${path}`, text, UsageError));
  if (read.success) return read.output;
  const [issue] = read.issues;
  const where = v.getDotPath(issue) ?? "it";
  throw new UsageError(
    where === "layout"
      ? `${path} is no receipt of this version: its layout is not 1.`
      : `${path} is no receipt that can be followed: ${where} is not what it should be.`,
  );
}
