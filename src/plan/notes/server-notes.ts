// What a server asks of a quantized model beyond what loads in transformers. vLLM fuses some Linears into one, which then
// has one scheme (`compressed_tensors/utils.py`, should_ignore_layer; the models' packed_modules_mapping), and its FP8
// kernels take whole blocks (`fp8_utils.py`, validate_fp8_block_shape and per_token_group_quant_fp8).

import type { ServerNote } from "../../api/compressor-api.ts";
import { type ConfigGroup, isRewriting, type Recipe } from "../../formats/recipe/recipe.ts";
import { isInTower } from "../checkpoint/find-linears.ts";
import { FUSED_NAMES, setLedBy } from "../fuse-modules.ts";
import { listSome } from "../../formats/text/list-some.ts";

/** A Linear that is quantized. */
export interface ServedModule {
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly group: ConfigGroup;
}

/** Sets that LLM Compressor does not tie together by a global scale, but that vLLM fuses all the same. */
const MORE_FUSED_NAMES: readonly (readonly string[])[] = [
  ["in_proj_qkv", "in_proj_z"],
  ["in_proj_b", "in_proj_a"],
];
const SHOWN = 6;

/** What vLLM would refuse of this plan, and the modules to ignore so that it does not. */
export function serverNotes(quantized: readonly ServedModule[], ignored: readonly string[]): ServerNote[] {
  const known = new Map(quantized.map((entry) => [entry.module, entry]));
  const sets = fusedModules([...known.keys(), ...ignored]).filter((set) =>
    set.some((name) => known.has(name)),
  );
  const split = sets.filter((set) => new Set(set.map((name) => known.get(name)?.group)).size > 1);
  const unevenRows = sets.filter(
    (set) => !split.includes(set) && set.some((name) => hasTornRows(known.get(name))),
  );
  const unevenColumns = quantized.filter(hasTornColumns).map(({ module }) => module);
  const notes: ServerNote[] = [];
  if (split.length > 0) notes.push(splitNote(split.flat(), known));
  if (unevenRows.length > 0) {
    const torn = unevenRows.flat().filter((name) => hasTornRows(known.get(name)));
    notes.push({
      server: "vLLM",
      modules: torn,
      ignore: unevenRows.flat(),
      sentence: `vLLM will refuse this result: it fuses ${listSome(torn, SHOWN)} with their neighbours, and their rows are no multiple of the block of 128 ("output_partition_size … is not divisible by weight quantization block_n"). Ignore those sets, or take FP8_DYNAMIC, which has a scale for each row.`,
    });
  }
  if (unevenColumns.length > 0) {
    notes.push({
      server: "vLLM",
      modules: unevenColumns,
      ignore: wholeSets(unevenColumns, sets),
      sentence: `vLLM will refuse this result: it quantizes the inputs of ${listSome(unevenColumns, SHOWN)} in groups that do not divide their number. Ignore these modules, or take a scheme with one scale a token (FP8_DYNAMIC).`,
    });
  }
  return notes;
}

/** The recipe with everything ignored that the notes name; null if nothing would be left to quantize. */
export function servableRecipe(
  recipe: Recipe,
  notes: readonly ServerNote[],
  quantized: readonly ServedModule[],
): Recipe | null {
  const named = new Set(notes.flatMap(({ ignore }) => ignore));
  const more = [...named].toSorted();
  if (more.length === 0 || quantized.every(({ module }) => named.has(module))) return null;
  return {
    ...recipe,
    modifiers: recipe.modifiers.map((modifier) =>
      isRewriting(modifier)
        ? modifier
        : {
            ...modifier,
            ignore: [...modifier.ignore, ...more.filter((name) => !modifier.ignore.includes(name))],
          },
    ),
  };
}

/** Names of the sets that vLLM fuses; a mixture's experts are one set, which takes one scheme. */
export function fusedModules(modules: readonly string[]): string[][] {
  const all = new Set(modules.filter((module) => !isInTower(module)));
  const sets: string[][] = [];
  for (const names of [...FUSED_NAMES, ...MORE_FUSED_NAMES]) {
    for (const module of all) {
      const set = setLedBy(module, names, all);
      if (set.length > 0) sets.push(set);
    }
  }
  const experts = new Map<string, string[]>();
  for (const module of all) {
    const mixture = /^(.*\.experts)\.\d+\./.exec(module)?.[1];
    if (mixture === undefined) continue;
    const members = experts.get(mixture) ?? [];
    experts.set(mixture, members);
    members.push(module);
  }
  const alone = sets.filter((set) => !set.some((name) => /\.experts\.\d+\./.test(name)));
  return [...alone, ...experts.values()];
}

function wholeSets(modules: readonly string[], sets: readonly (readonly string[])[]): string[] {
  const setOf = new Map(sets.flatMap((set) => set.map((module) => [module, set] as const)));
  return [...new Set(modules.flatMap((module) => setOf.get(module) ?? [module]))];
}

function splitNote(modules: readonly string[], known: ReadonlyMap<string, ServedModule>): ServerNote {
  const plain = modules.filter((name) => !known.has(name));
  const how =
    plain.length > 0
      ? `but ${listSome(plain, SHOWN)} would not be quantized`
      : "but they would have several schemes";
  return {
    server: "vLLM",
    modules,
    ignore: modules,
    sentence: `vLLM will refuse this result: it fuses modules that share an input (q, k and v; gate and up; all experts of a layer) and takes one scheme for each set, ${how} in sets of ${listSome(modules, SHOWN)}. Target each set as a whole, or ignore it as a whole.`,
  };
}

/** True if blocks of rows would reach into the next part of a fused set. */
function hasTornRows(module: ServedModule | undefined): boolean {
  const block = module?.group.scheme.weights?.block_structure?.[0];
  return module !== undefined && block !== undefined && module.rows % block !== 0;
}

function hasTornColumns({ columns, group }: ServedModule): boolean {
  const { weights, input_activations } = group.scheme;
  if (weights?.strategy !== "block" || input_activations?.strategy !== "group") return false;
  return columns % (input_activations.group_size ?? columns) !== 0;
}
