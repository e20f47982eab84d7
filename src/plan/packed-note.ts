// Models that transformers cannot open with packed weights, dense ones too.

import type { ServerNote } from "../api/compressor-api.ts";
import { compressionFormat } from "../formats/compression-format.ts";
import type { ConfigGroup } from "../formats/recipe.ts";
import { TRANSFORMERS } from "../model/linear-classes.ts";

/**
 * Types whose classes ask Linears for their weight while a model is made (`_init_weights`, Falcon's own Linear), which packed
 * ones have not. Each was tried with a tiny checkpoint in W4A16: AttributeError, 'Linear' object has no attribute 'weight'.
 */
const ASKING = new Set([
  "altclip",
  "bridgetower",
  "chinese_clip",
  "chinese_clip_vision_model",
  "clap",
  "clipseg",
  "clvp",
  "falcon",
  "falcon_mamba",
  "gpt_bigcode",
  "mamba",
  "mamba2",
  "modernbert-decoder",
  "nanochat",
  "phi4_multimodal",
  "recurrent_gemma",
  "rwkv",
  "xlstm",
]);

/** What transformers would not open of this plan, by the model's own type. */
export function packedNotes(
  { model_type: type }: Readonly<Record<string, unknown>>,
  quantized: readonly { readonly module: string; readonly group: ConfigGroup }[],
): ServerNote[] {
  if (typeof type !== "string" || !ASKING.has(type)) return [];
  const modules = quantized
    .filter(({ group }) => compressionFormat(group.scheme).endsWith("pack-quantized"))
    .map(({ module }) => module);
  if (modules.length === 0) return [];
  return [
    {
      server: "transformers",
      modules,
      ignore: [],
      sentence: `transformers ${TRANSFORMERS} will not open this result: its classes for the type ${type} ask ${modules.length === 1 ? "a Linear" : `${modules.length} Linears`} (${modules[0]}, …) for a weight, which packed ones have not. Servers have classes of their own.`,
    },
  ];
}
