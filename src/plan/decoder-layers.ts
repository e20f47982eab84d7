import { isInTower } from "./checkpoint/find-linears.ts";

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
