// A recipe's text and the places in it: YAML as PyYAML reads it (version 1.1), of which JSON is a part. Comes from people,
// who paste: its size and its aliases are bounded, and every complaint names the line.

import * as v from "valibot";
import {
  type CollectionTag,
  type Document,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
} from "yaml";
import { RecipeError } from "../../errors.ts";
import {
  hasTooManyTokens,
  MAX_ALIASES,
  MAX_YAML_DEPTH,
  MAX_YAML_TOKENS,
  tooDeepAt,
} from "../../formats/text/bounded-yaml.ts";

/** LLM Compressor's longest examples have a few kilobytes. */
const MAX_RECIPE_LENGTH = 200_000;

/**
 * LLM Compressor writes words that it has filled in as PyYAML writes members of Python's enumerations: in a list, behind a tag
 * that names their class. Each stands for its word.
 */
const PYTHON_WORDS = ["ActivationOrdering", "DynamicType", "QuantizationStrategy", "QuantizationType"].map(
  (name): CollectionTag => ({
    tag: `tag:yaml.org,2002:python/object/apply:compressed_tensors.quantization.quant_args.${name}`,
    collection: "seq",
    resolve(list, onError) {
      const [word, ...others] = isSeq(list) ? list.items : [];
      if (isScalar(word) && others.length === 0) return word;
      onError(`${name} stands for one word`);
      return list;
    },
  }),
);

type Path = readonly (string | number)[];

export interface RecipeDocument {
  /** The plain value at a path of keys. */
  valueAt(path: Path): unknown;
  /** Keys of the mapping at a path, in their order; null if there is no mapping. */
  keysAt(path: Path): string[] | null;
  /** Parses the value at a path. Throws a RecipeError that names line and column of the first thing that is wrong. */
  parseAt<Schema extends v.GenericSchema>(path: Path, schema: Schema): v.InferOutput<Schema>;
  /** A RecipeError about what stands at a path, or about its key. */
  errorAt(path: Path, message: string): RecipeError;
}

/** @throws RecipeError if the text is not YAML. */
export function readRecipeDocument(text: string): RecipeDocument {
  if (text.length > MAX_RECIPE_LENGTH) {
    throw new RecipeError(`The recipe has ${text.length} characters; at most ${MAX_RECIPE_LENGTH} are read.`);
  }
  checkTokens(text);
  checkDepth(text);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: "1.1",
    lineCounter: lines,
    prettyErrors: false,
    customTags: (tags) => [...tags, ...PYTHON_WORDS],
  });
  const [failure] = document.errors;
  if (failure) throw new RecipeError(`${placeOf(failure.pos[0], lines)}: ${sentence(failure.message)}`);
  const root = plainValue(document);
  const errorAt = (path: Path, message: string) =>
    new RecipeError(`${placeOf(offsetOf(document, path), lines)}: ${sentence(message)}`);
  return {
    valueAt: (path) => document.getIn(path) ?? null,
    keysAt(path) {
      const node: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
      return isMap(node) ? node.items.map(({ key }) => String(key)) : null;
    },
    parseAt(path, schema) {
      const value = path.reduce(childOf, root);
      const parsed = v.safeParse(schema, value, { abortEarly: true });
      if (parsed.success) return parsed.output;
      const [issue] = parsed.issues;
      const keys = (issue.path ?? []).map(({ key }) => key as string | number);
      const field = typeof keys.at(-1) === "number" ? keys.at(-2) : keys.at(-1);
      const named = issue.expected === "never" || field === undefined ? "" : `${String(field)}: `;
      throw errorAt([...path, ...keys], named + issue.message);
    },
    errorAt,
  };
}

function checkTokens(text: string): void {
  if (!hasTooManyTokens(text)) return;
  throw new RecipeError(
    `The recipe has more than ${MAX_YAML_TOKENS} words and signs, which no recipe needs. Name modules by patterns ("re:…").`,
  );
}

function checkDepth(text: string): void {
  const lines = new LineCounter();
  const offset = tooDeepAt(text, lines);
  if (offset === null) return;
  throw new RecipeError(
    `${placeOf(offset, lines)}: The recipe nests its values more than ${MAX_YAML_DEPTH} levels deep, which no recipe needs.`,
  );
}

function plainValue(document: Document.Parsed): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    throw new RecipeError("The recipe refers to parts of itself too often.", { cause });
  }
}

function childOf(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/** Where the path's last key stands, or the nearest of its parents. */
function offsetOf(document: Document.Parsed, path: Path): number {
  for (let length = path.length; length > 0; length--) {
    const parent: unknown =
      length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find((item) => isPair(item) && String(item.key) === String(key))
      : null;
    const node: unknown = pair?.key ?? document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function placeOf(offset: number, lines: LineCounter): string {
  const { line, col } = lines.linePos(offset);
  return `Recipe, line ${line}, column ${col}`;
}

function sentence(message: string): string {
  const trimmed = message.trim();
  return /[.?!]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
