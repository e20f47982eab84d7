// Modules that vLLM fuses into one: the parts of an NVFP4 set must share one global scale, so LLM Compressor takes it over
// all of them (`observers/helpers.py`, FUSED_LAYER_NAMES).

import { RecipeError } from "../errors.ts";
import { hasGlobalScale } from "../formats/schemes/compression-format.ts";
import type { QuantizationArgs } from "../formats/schemes/quantization-args.ts";

/** Parts of each set, the first names it. */
export const FUSED_NAMES: readonly (readonly string[])[] = [
  ["gate_proj", "up_proj"],
  ["q_proj", "k_proj", "v_proj"],
  ["q_a_proj", "kv_a_proj_with_mqa"],
  ["w1", "w3"],
];

/** Null in the model's class where keys are the values, too (Gemma 4): the others of its set are fused without it. */
const MAY_LACK = "v_proj";

/** A Linear of the model; `weights` is null if it stays as it is. */
export interface FusibleModule {
  readonly module: string;
  readonly weights: QuantizationArgs | null;
}

/**
 * The first module of the fused set that each module belongs to, for those that share a global scale; sets of which a part
 * is missing do not count.
 * @throws RecipeError if only some modules of a set have a global scale: vLLM could not fuse them.
 */
export function fusedSets(modules: readonly FusibleModule[]): ReadonlyMap<string, string> {
  const known = new Map(modules.map((entry) => [entry.module, entry]));
  const leaders = new Map<string, string>();
  for (const { module } of modules) {
    const names = FUSED_NAMES.flatMap((set) => setLedBy(module, set, known));
    const members = names.map((name) => known.get(name)).filter((member) => member !== undefined);
    const shared = members.filter(({ weights }) => weights !== null && hasGlobalScale(weights));
    if (shared.length === 0) continue;
    if (shared.length < members.length) throw splitSetError(members, shared);
    for (const member of members) leaders.set(member.module, module);
  }
  return leaders;
}

/**
 * The modules of a set that begins with this one, by the names of their last parts; empty if the module is no first one, or if
 * parts are not among the known.
 */
export function setLedBy(
  module: string,
  [first = "", ...others]: readonly string[],
  known: Pick<ReadonlySet<string>, "has">,
): string[] {
  if (module !== first && !module.endsWith(`.${first}`)) return [];
  const before = module.slice(0, module.length - first.length);
  const wanted = others.filter((name) => name !== MAY_LACK || known.has(before + name));
  const set = [module, ...wanted.map((name) => before + name)];
  return wanted.length > 0 && set.every((name) => known.has(name)) ? set : [];
}

function splitSetError(members: readonly FusibleModule[], shared: readonly FusibleModule[]): RecipeError {
  const without = members.filter((member) => !shared.includes(member));
  return new RecipeError(
    `${shared.map(({ module }) => module).join(", ")} would be NVFP4, but ${without.map(({ module }) => module).join(", ")} not: vLLM fuses these modules and they must share a scheme. Target all of them, or ignore all of them.`,
  );
}
