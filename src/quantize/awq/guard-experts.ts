// What a mixture's experts give out decides whether factors stay. Each Linear loses less of its own output by the scales that its
// Hessian chooses, and the block may lose more all the same: gate and up are multiplied, tokens weigh experts and a gate the shared
// one. So the block is run with all of its Linears rounded: without factors, with those of its input, with those of its down
// projections' inputs, and with both.

import { invariant } from "../../errors.ts";
import type { Mapping } from "../../model/mappings.ts";
import type { BlockVariants, RewriterDemand, RewriterRun } from "../rewriter.ts";
import { openCandidateWeights } from "./candidate-weights.ts";
import type { GroupMember, Search } from "./search-mappings.ts";

/** Of a layer of experts: the mapping of the norm before them, and those of their down projections. */
export interface GuardedExperts {
  readonly input: GroupMember;
  readonly inner: readonly GroupMember[];
}

/** Whether the input's factors stay, and the down projections'. */
export interface KeptFactors {
  readonly input: boolean;
  readonly inner: boolean;
}

/** Candidates of a Linear: no scaling, and what was chosen. */
export const GUARD_CANDIDATES = 2;
/** What the block is run with, the original left out. */
export const GUARD_VARIANTS: readonly KeptFactors[] = [
  { input: false, inner: false },
  { input: true, inner: false },
  { input: false, inner: true },
  { input: true, inner: true },
];
/** Down projections alone come last. */
export const GUARD_TOGETHER = [false, true].map((input) =>
  [...GUARD_VARIANTS.entries()].filter(([, kept]) => kept.input === input).map(([variant]) => variant),
);

/** The mappings that a layer's experts are run for; null where it has none, or rows that are streamed do not say what they become. */
export function guardedExperts(
  { mappings }: RewriterDemand,
  memberOf: (mapping: Mapping) => GroupMember,
): GuardedExperts | null {
  const norm = mappings.find(({ block }) => block === "experts");
  if (!norm) return null;
  const input = memberOf(norm);
  const inner = mappings.filter(({ place }) => place === "mlp-output").map(memberOf);
  const tasks = [input, ...inner].flatMap((member) => member.tasks);
  return tasks.some(({ weights }) => weights.strategy === "block") ? null : { input, inner };
}

/** The factors with which the block loses least, fewer where that is the same; all where no loss is a number. */
export function keptFactors(losses: ArrayLike<number>): KeptFactors {
  const finite = GUARD_VARIANTS.map((kept, index) => ({ kept, loss: losses[index] ?? Number.NaN })).filter(
    ({ loss }) => Number.isFinite(loss),
  );
  const [first, ...rest] = finite;
  if (!first) return { input: true, inner: true };
  return rest.reduce((best, each) => (each.loss < best.loss ? each : best), first).kept;
}

/**
 * Runs a layer's experts with and without the factors that were chosen.
 * @param best the candidate of least loss of a search
 */
export async function guardExperts(
  run: RewriterRun,
  { input, inner }: GuardedExperts,
  searches: ReadonlyMap<Mapping, Search>,
  best: (search: Search) => number,
): Promise<KeptFactors> {
  const given = [input, ...inner].flatMap((member) => {
    const search = searches.get(member.mapping);
    return search ? [givenOf(member, search, best(search))] : [];
  });
  const moves = given.some(({ scales }) => scales.at(-1)?.some((scale) => scale !== 1));
  if (!searches.has(input.mapping) || !moves) return { input: true, inner: true };
  using weights = await openCandidateWeights(run, given, GUARD_CANDIDATES);
  const reading = new Set(input.tasks.map(({ module }) => module));
  const replace: BlockVariants["replace"] = (module, rows, variant) => {
    const kept = GUARD_VARIANTS[variant];
    invariant(kept, "a variant is one of four");
    return weights.replace(module, rows, Number(reading.has(module) ? kept.input : kept.inner));
  };
  const variants = { count: GUARD_VARIANTS.length, together: GUARD_TOGETHER, replace };
  const losses = await run.runBlocks([{ mapping: input.mapping, ...variants }]);
  return keptFactors(losses.get(input.mapping) ?? []);
}

/** Rows of up that down's factors divide are rounded to the same numbers: their scales are divided, too. */
function givenOf(member: GroupMember, { scales, known }: Search, best: number) {
  const chosen = [0, best].map((index) => scales[index] ?? new Float32Array(member.columns).fill(1));
  const own = Array.from(known, ([module, all]): [string, Float32Array<ArrayBuffer>] => [
    module,
    Float32Array.of(...all.slice(0, 4), ...all.slice(4 * best, 4 * best + 4)),
  ]);
  return { ...member, scales: chosen, known: new Map(own) };
}
