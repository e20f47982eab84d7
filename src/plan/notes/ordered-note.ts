// Weights whose groups follow the order of quantization (`actorder` "group"): compressed-tensors 0.19 has no longer a word for
// them, and refuses the whole config.json of a model that says it.

import type { ServerNote } from "../../api/compressor-api.ts";
import type { ConfigGroup } from "../../formats/recipe/recipe.ts";

/** What compressed-tensors, and transformers with it, would not open of this plan. */
export function orderedNotes(
  quantized: readonly { readonly module: string; readonly group: ConfigGroup }[],
): ServerNote[] {
  const modules = quantized
    .filter(({ group }) => group.scheme.weights?.actorder === "group")
    .map(({ module }) => module);
  if (modules.length === 0) return [];
  return [
    {
      server: "transformers",
      modules,
      ignore: [],
      sentence: `transformers will not open this result with compressed-tensors 0.19 or later, which refuses the actorder "group" (${modules.length === 1 ? "a Linear has" : `${modules.length} Linears have`} it: ${modules[0]}${modules.length === 1 ? "" : ", …"}). Take "static", which orders columns in the same way, unless a server that reads weight_g_idx is all that the result is for.`,
    },
  ];
}
