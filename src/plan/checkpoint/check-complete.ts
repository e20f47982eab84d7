// Files that belong together, held against what their names and config.json promise: a model that lost a shard on its way
// would otherwise become a smaller model that loads with random numbers in the gaps.

import { MalformedModelError } from "../../errors.ts";
import { towerOf } from "./find-linears.ts";

const SHARD = /^(.+)-(\d{5})-of-(\d{5})\.safetensors$/;
const LAYER_COUNTS = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
/** What families call the list of their decoder's layers. */
const STACK = /^((?:[^.]+\.)*(?:layers|h|blocks))\.(\d+)\./;
const SHOWN = 4;

/**
 * Checks that shards numbered "00001-of-00003" are all there, where no index lists them.
 * @throws MalformedModelError naming those that are not.
 */
export function checkShardNames(paths: readonly string[]): void {
  const sets = new Map<string, { readonly count: number; readonly numbers: Set<number> }>();
  for (const path of paths) {
    const [, stem = "", number, count] = SHARD.exec(path) ?? [];
    if (number === undefined || count === undefined) continue;
    const key = `${stem}-of-${count}`;
    const set = sets.get(key) ?? { count: Number(count), numbers: new Set() };
    sets.set(key, set);
    set.numbers.add(Number(number));
  }
  for (const [key, { count, numbers }] of sets) {
    const missing = gaps(numbers, 1, count);
    if (missing.length === 0) continue;
    const [stem = "", total = ""] = key.split("-of-");
    const names = missing
      .slice(0, SHOWN)
      .map((number) => `${stem}-${String(number).padStart(5, "0")}-of-${total}.safetensors`);
    throw new MalformedModelError(
      `The names of the files promise ${count} shards, but ${missing.length} of them ${missing.length === 1 ? "is" : "are"} not here: ${list(names, missing.length)}. Download what is missing into the same folder.`,
    );
  }
}

/**
 * Checks that the files hold every decoder layer that config.json counts: there is a list of layers that has them all, or
 * none at all. Others may be longer and have gaps, as convolutions before an encoder have.
 * @throws MalformedModelError naming the layers that are missing.
 */
export function checkLayers(names: readonly string[], config: Readonly<Record<string, unknown>>): void {
  const promised = promisedLayers(config);
  const stacks = longestStacks(names);
  const [stack] = stacks;
  if (promised === null || !stack) return;
  const { count } = promised;
  const isWhole = ({ numbers }: Stack) => numbers.size >= count && gaps(numbers, 0, count - 1).length === 0;
  if (stacks.some(isWhole)) return;
  const missing = gaps(stack.numbers, 0, count - 1);
  const layers = missing.slice(0, SHOWN).map((number) => `${stack.prefix}.${number}`);
  throw new MalformedModelError(
    `config.json counts ${count} layers (${promised.field}), but the files hold no weight of ${missing.length} of them: ${list(layers, missing.length)}. A shard is missing, or config.json is of another model.`,
  );
}

/** The decoder's layers by config.json, of a multimodal model those of its text model. */
function promisedLayers(
  config: Readonly<Record<string, unknown>>,
): { readonly field: string; readonly count: number } | null {
  const text = config["text_config"];
  const own: Readonly<Record<string, unknown>> = typeof text === "object" && text ? { ...text } : config;
  const counts = LAYER_COUNTS.flatMap((field) => {
    const count = own[field];
    return Number.isSafeInteger(count) ? [{ field, count: Number(count) }] : [];
  });
  // LongCat counts its caches, two for each of its num_layers, in num_hidden_layers.
  return counts.toSorted((a, b) => a.count - b.count)[0] ?? null;
}

interface Stack {
  readonly prefix: string;
  readonly numbers: ReadonlySet<number>;
}

/** Lists of layers outside of towers, the longest first. */
function longestStacks(names: readonly string[]): Stack[] {
  const stacks = new Map<string, Set<number>>();
  for (const name of names) {
    const [, prefix, number] = STACK.exec(name) ?? [];
    if (prefix === undefined || towerOf(`${prefix}.0`) !== null) continue;
    const numbers = stacks.get(prefix) ?? new Set();
    stacks.set(prefix, numbers.add(Number(number)));
  }
  return [...stacks]
    .map(([prefix, numbers]) => ({ prefix, numbers }))
    .toSorted((a, b) => b.numbers.size - a.numbers.size);
}

/** Whole numbers from first to last that are not in the set; of very many the first ones, which are named, and no more. */
function gaps(numbers: ReadonlySet<number>, first: number, last: number): number[] {
  const missing: number[] = [];
  const end = Math.min(last, first + MAX_COUNT);
  for (let number = first; number <= end; number++) if (!numbers.has(number)) missing.push(number);
  return missing;
}

/** More layers or shards than any model has: a count from outside must not become a long loop. */
const MAX_COUNT = 100_000;

function list(names: readonly string[], count: number): string {
  return count > names.length ? `${names.join(", ")} and ${count - names.length} more` : names.join(", ");
}
