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
    const set = setLedBy(module).map((name) => known.get(name));
    if (set.length === 0 || set.some((member) => member === undefined)) continue;
    const members = set.filter((member) => member !== undefined);
    const shared = members.filter(({ weights }) => weights !== null && hasGlobalScale(weights));
    if (shared.length === 0) continue;
    if (shared.length < members.length) throw splitSetError(members, shared);
    for (const member of members) leaders.set(member.module, module);
  }
  return leaders;
}

/** The whole set whose first name the module bears; empty for all others. */
function setLedBy(module: string): string[] {
  const dot = module.lastIndexOf(".") + 1;
  const names = FUSED_NAMES.find(([first]) => first === module.slice(dot));
  return names ? names.map((name) => module.slice(0, dot) + name) : [];
}

function splitSetError(members: readonly FusibleModule[], shared: readonly FusibleModule[]): RecipeError {
  const without = members.filter((member) => !shared.includes(member));
  return new RecipeError(
    `${shared.map(({ module }) => module).join(", ")} would be NVFP4, but ${without.map(({ module }) => module).join(", ")} not: vLLM fuses these modules and they must share a scheme. Target all of them, or ignore all of them.`,
  );
}
