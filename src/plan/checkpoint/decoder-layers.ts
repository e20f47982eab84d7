// The units of a model by the names of its tensors: its numbered layers, and what lies before and after them.

import { isInTower } from "./find-linears.ts";

export const BEFORE_LAYERS = "before the layers";
export const AFTER_LAYERS = "after the layers";

/** "model.layers.3" for "model.layers.3.mlp.up_proj.weight": the name up to its first number. */
export function unitOf(name: string): string {
  const match = /^(?:[^.]+\.)*?\d+(?=\.|$)/.exec(name);
  if (match) return match[0];
  return /embed|wte|wpe/i.test(name) ? BEFORE_LAYERS : AFTER_LAYERS;
}

/**
 * Names of the steps that are the decoder's layers, in order: of the numbered ones outside of encoders, those of the
 * longest list. What is numbered elsewhere (layers that predict further tokens, blocks of an encoder) is none of them.
 */
export function decoderLayers(steps: readonly { readonly name: string }[]): string[] {
  const lists = new Map<string, string[]>();
  for (const { name } of steps) {
    const stem = /^(.*)\.\d+$/.exec(name)?.[1];
    if (stem === undefined || isInTower(`${name}.`)) continue;
    const list = lists.get(stem);
    if (list) list.push(name);
    else lists.set(stem, [name]);
  }
  const [longest = []] = [...lists.values()].toSorted((a, b) => b.length - a.length);
  return longest;
}
