// layerpress-part.json: what a part of a model belongs to, what it holds, and what was measured while it was made. It says all
// that joining the parts needs beside their tensors.

import * as v from "valibot";
import { MalformedModelError } from "../errors.ts";
import { type Dtype, isDtype } from "../formats/numbers/dtype.ts";
import { parseJson } from "../formats/text/parse-json.ts";
import { isSafePath } from "../formats/files/safe-path.ts";
import { shorten } from "../formats/text/show-value.ts";

export const PART_FILE = "layerpress-part.json";
/** Version of the file's layout: a reader refuses what it does not know. */
const LAYOUT = 1;
/** A mixture of ten thousand experts has a few megabytes. */
export const MAX_PART_BYTES = 256 * 1024 ** 2;

function list<Item extends v.GenericSchema>(item: Item) {
  return v.pipe(v.array(item), v.readonly());
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const text = v.string();
const amount = v.pipe(v.number(), v.finite());
const texts = list(text);

const calibration = v.strictObject({
  samples: count,
  tokens: count,
  max_seq_length: count,
  shuffle_calibration_samples: v.boolean(),
  seed: count,
  propagate_error: v.boolean(),
  hidden_states_dtype: text,
  forward_products: text,
  moe_calibrate_all_experts: v.boolean(),
  moe_min_tokens_per_expert: count,
});

const module = v.strictObject({
  module: text,
  loss: amount,
  rtnLoss: amount,
  dampeningFrac: amount,
  attempts: count,
  deadColumns: count,
  tokens: count,
  rounded: v.boolean(),
  seconds: amount,
});

const mapping = v.strictObject({
  modifier: text,
  smooth: text,
  balance: texts,
  scales: v.pipe(v.tuple([amount, amount]), v.readonly()),
  search: v.exactOptional(
    v.strictObject({ ratio: amount, duo: v.boolean(), loss: amount, unscaledLoss: amount }),
  ),
});

const submit = v.strictObject({ milliseconds: amount, predictedMs: amount, kernels: texts });

const tensor = v.strictObject({
  name: text,
  dtype: v.custom<Dtype>((value) => typeof value === "string" && isDtype(value)),
  shape: list(count),
});

const file = v.strictObject({ path: v.pipe(text, v.check(isSafePath)), bytes: count });

const schema = v.strictObject({
  layout: v.literal(LAYOUT),
  made_by: v.literal("Layerpress"),
  /** Commit that the program was built from. */
  version: text,
  /** The whole job's digest: source, recipe, layout, and, where text calibrates, its token ids and how they are used. */
  job: text,
  source: v.strictObject({
    /** Commit, or digest of the files' ETags or dates and sizes. */
    key: text,
    label: text,
    name: text,
    repository: v.nullable(text),
    revision: v.nullable(text),
  }),
  recipe: text,
  /** As it was asked for. */
  calibration: v.nullable(calibration),
  /** What the forward passes then ran on; null of a part that had none. */
  forwardProducts: v.nullable(text),
  /** The decoder's layers, and the whole job's steps, of which they are some. */
  layers: count,
  steps: count,
  part: v.variant("kind", [
    v.strictObject({ kind: v.literal("layers"), first: count, last: count }),
    v.strictObject({ kind: v.literal("rest") }),
  ]),
  /** What each of the part's steps wrote, with its place among the whole job's steps. */
  written: list(v.strictObject({ place: count, tensors: list(tensor) })),
  shards: list(file),
  /** Small files of the source that go into the result. */
  carried: list(file),
  /** What is known of the whole result beside its tensors. */
  result: v.strictObject({
    name: text,
    schemes: texts,
    sourceBytes: count,
    bitsPerWeight: amount,
    quantizedModules: count,
    isPlain: v.boolean(),
    ignored: texts,
    serverNotes: list(
      v.strictObject({ server: v.picklist(["vLLM", "transformers"]), modules: texts, sentence: text }),
    ),
    /** The source's model card, whose front matter the result's goes by. */
    card: v.nullable(text),
  }),
  measured: v.strictObject({
    modules: list(module),
    mappings: list(mapping),
    peakGpuBytes: count,
    gpuBudgetBytes: count,
    longestSubmits: list(submit),
    gpuBusySeconds: amount,
    seconds: v.record(text, amount),
  }),
});

export type PartDocument = v.InferOutput<typeof schema>;

/** What is told of a result, or of a part of one, beside its tensors. */
export type ResultFacts = Pick<PartDocument, "source" | "recipe" | "calibration" | "result" | "measured">;

/** The document as it lies in the part's folder. */
export function writePartDocument(document: Omit<PartDocument, "layout" | "made_by">): string {
  return `${JSON.stringify({ layout: LAYOUT, made_by: "Layerpress", ...document }, null, 1)}\n`;
}

/**
 * @param path for the sentence
 * @throws MalformedModelError if the text is not such a document, or of a layout that is not known
 */
export function parsePartDocument(path: string, json: string): PartDocument {
  const parsed = v.safeParse(schema, parseJson(path, json));
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const place = v.getDotPath(issue) ?? "its root";
  throw new MalformedModelError(
    `${path} is not what this version writes of a part: ${shorten(place)} is not as it should be. Make the part again with the version that joins it.`,
  );
}

/** "layers 4..7" or "rest", as the command line says it. */
export function partName({ part }: Pick<PartDocument, "part">): string {
  return part.kind === "rest" ? "rest" : `layers ${part.first}..${part.last}`;
}
