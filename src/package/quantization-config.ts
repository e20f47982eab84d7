// The `quantization_config` of config.json, as compressed-tensors writes it (`quant_config.py`): every key that its
// library writes, in its order (sorted), so that our files and its own cannot be told apart.

import { compressionFormat } from "../formats/compression-format.ts";
import type { CompressionFormat } from "../formats/quantization-args.ts";
import type { Recipe } from "../formats/recipe.ts";

/** The release whose file format is written. */
const COMPRESSED_TENSORS_VERSION = "0.18.0";

/** The value of `quantization_config`; `ignored` are all Linear modules that stay as they are. */
export function quantizationConfig(recipe: Recipe, ignored: readonly string[]): Record<string, unknown> {
  const formats = new Set<CompressionFormat>();
  const groups = recipe.groups.map((group) => {
    const format = compressionFormat(group.scheme);
    formats.add(format);
    const value = {
      format,
      input_activations: sortKeys(group.scheme.input_activations),
      output_activations: null,
      targets: group.targets,
      weights: sortKeys(group.scheme.weights),
    };
    return [group.name, value] as const;
  });
  const [onlyFormat] = formats;
  return {
    config_groups: Object.fromEntries(groups),
    format: formats.size === 1 ? onlyFormat : "mixed-precision",
    global_compression_ratio: null,
    ignore: ignored,
    kv_cache_scheme: sortKeys(recipe.kv_cache_scheme),
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    sparsity_config: {},
    transform_config: {},
    version: COMPRESSED_TENSORS_VERSION,
  };
}

function sortKeys(value: object | null): Record<string, unknown> | null {
  if (!value) return null;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The source's config.json with the quantization added; keys sorted and indented by two, as transformers writes it. */
export function resultConfig(source: Readonly<Record<string, unknown>>, quantization: object): string {
  const merged = sortKeys({ ...source, quantization_config: quantization });
  return `${JSON.stringify(merged, null, 2)}\n`;
}
