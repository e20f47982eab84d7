// The `quantization_config` of config.json, as compressed-tensors writes it (`quant_config.py`): every key that its
// library writes, in its order (sorted), so that our files and its own cannot be told apart.

import { compressionFormat } from "../formats/schemes/compression-format.ts";
import { withoutQuantization } from "../formats/schemes/quantization-field.ts";
import type { CompressionFormat, QuantizationArgs } from "../formats/schemes/quantization-args.ts";
import type { ConfigGroup } from "../formats/recipe/recipe.ts";

/** The release whose file format is written. */
const COMPRESSED_TENSORS_VERSION = "0.18.0";

export interface QuantizationFacts {
  /** Groups that quantize at least one module, in the recipe's order; they are numbered anew, as the library does. */
  readonly groups: readonly ConfigGroup[];
  readonly kv_cache_scheme: QuantizationArgs | null;
  /** All Linear modules that stay as they are. */
  readonly ignored: readonly string[];
}

/** The value of `quantization_config`. */
export function quantizationConfig(facts: QuantizationFacts): Record<string, unknown> {
  const formats = new Set<CompressionFormat>();
  const groups = facts.groups.map((group, index) => {
    const format = compressionFormat(group.scheme);
    formats.add(format);
    const value = {
      format,
      input_activations: sortKeys(group.scheme.input_activations),
      output_activations: null,
      targets: group.targets,
      weights: sortKeys(group.scheme.weights),
    };
    return [`group_${index}`, value] as const;
  });
  return {
    config_groups: Object.fromEntries(groups),
    format: modelFormat([...formats]),
    global_compression_ratio: null,
    ignore: facts.ignored,
    kv_cache_scheme: sortKeys(facts.kv_cache_scheme),
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    sparsity_config: {},
    transform_config: {},
    version: COMPRESSED_TENSORS_VERSION,
  };
}

/** "dense" if only the key-value cache is quantized. */
function modelFormat(formats: readonly CompressionFormat[]): CompressionFormat | "mixed-precision" {
  const [only = "dense"] = formats;
  return formats.length > 1 ? "mixed-precision" : only;
}

function sortKeys(value: object | null): Record<string, unknown> | null {
  if (!value) return null;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * The source's config.json with the quantization, or without any; keys sorted and indented by two, as transformers writes
 * it. What was a float stays one: "30.0" written as "30" is an integer, which transformers refuses for some fields.
 * @param source text of a config.json that holds an object
 */
export function resultConfig(source: string, quantization: object | null): string {
  const marked: Record<string, unknown> = JSON.parse(markFloats(source));
  const plain = withoutQuantization(marked);
  const merged = sortKeys(quantization ? { ...plain, quantization_config: quantization } : plain);
  return `${unmarkFloats(JSON.stringify(merged, null, 2))}\n`;
}

/** The text of a config.json with some of its fields changed or added; numbers stay as they were written. */
export function changedConfig(source: string, fields: Readonly<Record<string, boolean>>): string {
  const marked: Record<string, unknown> = JSON.parse(markFloats(source));
  return unmarkFloats(JSON.stringify({ ...marked, ...fields }));
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** A character that no string of a config.json begins with. */
const MARK = String.raw`\u0000`;
const MARKED = /"\\u0000(-?\d+(?:\.0)?|-?Infinity|NaN)"/g;

/** Floats of whole values, integers beyond doubles, and the numbers that JSON has not, as strings, which JSON keeps as they are. */
function markFloats(json: string): string {
  return json.replace(TOKEN, (token) => {
    if (/^(-?Infinity|NaN)$/.test(token)) return `"${MARK}${token}"`;
    if (token.startsWith('"')) return token;
    const isFloat = /[.eE]/.test(token);
    const value = String(Number(token));
    // Python has integers of any length: "no limit" is 1e30 in its digits.
    if (!isFloat && !Number.isSafeInteger(Number(token))) return `"${MARK}${token}"`;
    return isFloat && /^-?\d+$/.test(value) ? `"${MARK}${value}.0"` : token;
  });
}

function unmarkFloats(json: string): string {
  return json.replace(MARKED, "$1");
}
