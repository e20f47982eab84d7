// Models that transformers cannot open with packed weights, dense ones too: their classes ask Linears for their weight while a
// model is loaded (`_init_weights` of T5, SigLIP, Falcon, Mamba, …), which packed ones have not. Which, the table knows
// (`asked` in src/model/linear-table.json).

import type { ServerNote } from "../../api/compressor-api.ts";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import type { ConfigGroup } from "../../formats/recipe/recipe.ts";
import { type LinearClasses, TRANSFORMERS } from "../../model/linear-classes.ts";

/** What transformers would not open of this plan, by the model's own type. */
export function packedNotes(
  { model_type: type }: Readonly<Record<string, unknown>>,
  classes: Pick<LinearClasses, "asksFor">,
  quantized: readonly { readonly module: string; readonly group: ConfigGroup }[],
): ServerNote[] {
  const modules = quantized
    .filter(({ group }) => compressionFormat(group.scheme).endsWith("pack-quantized"))
    .map(({ module }) => module)
    .filter((module) => classes.asksFor(module));
  if (modules.length === 0) return [];
  return [
    {
      server: "transformers",
      modules,
      ignore: [],
      sentence: `transformers ${TRANSFORMERS} will not open this result: its classes for the type ${String(type)} ask ${modules.length === 1 ? "a Linear" : `${modules.length} Linears`} (${modules[0]}, …) for a weight, which packed ones have not. Servers have classes of their own.`,
    },
  ];
}
