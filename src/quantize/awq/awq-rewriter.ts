// AWQ as a rewriter. LLM Compressor runs a block again for each candidate; the Hessian of a Linear's input knows the error of its
// output, ‖X ΔWᵀ‖² = tr(ΔW XᵀX ΔWᵀ), so here the samples run once and each candidate costs a product. Errors count as shares of
// their Linear's output. Mixers alone are run for each candidate, on a few tokens.

import { AWQ } from "../../formats/modifiers/awq.ts";
import { CalibrationError, invariant } from "../../errors.ts";
import type { AwqModifier } from "../../formats/recipe/recipe.ts";
import { prepareMatmul } from "../../gpu/matmul/matmul.ts";
import { byModule, ofModules } from "../../model/by-module.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Mapping } from "../../model/mappings.ts";
import type { QuantizerLimits, QuantizerTask } from "../quantizer.ts";
import {
  type BlockVariants,
  foldsOf,
  reportOf,
  type Rewriter,
  type RewriterDemand,
  type RewriterRun,
  type Rewritten,
} from "../rewriter.ts";
import { candidateErrorsConstants, candidateErrorsKernel } from "./awq-kernels.ts";
import { candidateWeightsBytes, openCandidateWeights } from "./candidate-weights.ts";
import { candidates } from "./candidates.ts";
import {
  GUARD_CANDIDATES,
  GUARD_TOGETHER,
  GUARD_VARIANTS,
  guardedExperts,
  type GuardedExperts,
  guardExperts,
} from "./guard-experts.ts";
import { glanceAt, glancedMapping, glanceDemand } from "./glance-at-mixer.ts";
import { type GroupMember, type Search, searchPass } from "./search-mappings.ts";
import { searchBytes, searchGroups } from "./search-memory.ts";
import { guardWork, searchWork } from "./search-work.ts";

export const awqRewriter: Rewriter = {
  name: AWQ.name,
  hessians(demand) {
    const { captures, tasks, mappings } = demand;
    const quantized = byModule(tasks);
    const byLinears = mappings.filter((mapping) => !isByBlock(demand, mapping));
    const balanced = new Set(byLinears.flatMap(({ balance }) => balance.map(({ module }) => module)));
    return captures.filter(
      ({ modules }) =>
        modules.some((module) => quantized.has(module)) && modules.some((module) => balanced.has(module)),
    );
  },
  blocks(demand) {
    const guarded = guardedOf(demand);
    if (guarded) {
      const { input, inner } = guarded;
      return {
        mappings: [input.mapping],
        runs: GUARD_VARIANTS.length,
        together: GUARD_TOGETHER,
        bytes: candidateWeightsBytes([input, ...inner], GUARD_CANDIDATES),
      };
    }
    if (settingsOf(demand).loss !== "block") return null;
    const mappings = demand.mappings.filter((mapping) => isByBlock(demand, mapping));
    if (mappings.length === 0) return null;
    const runs = candidates(settingsOf(demand)).length;
    const searched = mappings.map((mapping) => searchedOf(demand, mapping));
    return { mappings, runs, bytes: candidateWeightsBytes(searched, runs) };
  },
  glance(demand, maxBufferBytes) {
    const mapping = glancedOf(demand);
    return mapping
      ? glanceDemand(searchedOf(demand, mapping), candidates(settingsOf(demand)).length, maxBufferBytes)
      : null;
  },
  work(demand) {
    const searched = demand.mappings.map((mapping) => searchedOf(demand, mapping));
    const guarded = guardedOf(demand);
    const search = searchWork(searched, candidates(settingsOf(demand)).length);
    return search + (guarded ? guardWork(guarded) : 0);
  },
  bytes,
  prepare(gpu, { tasks }) {
    prepareMatmul(gpu, { bTransposed: false, accumulate: true });
    for (const { weights } of tasks)
      gpu.queue.prepare(candidateErrorsKernel, candidateErrorsConstants(gpu, weights));
  },
  async rewrite(run) {
    const searches = new Map<Mapping, Search>();
    const tried = candidates(settingsOf(run));
    const duo = settingsOf(run).duo_scaling !== false;
    const attention = glancedOf(run);
    const glance = attention && glanceAt(run, searchedOf(run, attention), { tried, duo }, searches);
    await run.eachPass(async (pass) => {
      if (attention && pass.glanced) take(searches.get(attention), pass.glanced);
      const searched = searchedIn(run, pass.captures).filter(
        ({ byBlock, mapping }) => !byBlock || !searches.has(mapping),
      );
      for (const group of searchGroups(searched, tried.length)) {
        await searchPass({ run, pass, group, tried, duo }, searches);
      }
    }, glance);
    await searchBlocks(run, searches, tried.length);
    const guarded = guardedOf(run);
    const kept = guarded && (await guardExperts(run, guarded, searches, bestOf));
    return run.mappings.flatMap((mapping) => {
      const search = searches.get(mapping);
      if (!search) return [];
      const isInner = guarded?.inner.some((member) => member.mapping === mapping);
      const stays = mapping === guarded?.input.mapping ? kept?.input : !isInner || kept?.inner;
      return [
        chosen(mapping, search, { best: stays ? bestOf(search) : 0, byBlock: isByBlock(run, mapping) }),
      ];
    });
  },
};

function settingsOf({ modifier }: RewriterDemand): AwqModifier["settings"] {
  invariant(modifier.name === "AWQModifier", "its rewriter is asked for it");
  return modifier.settings;
}

/** A mapping with those of its Linears that are quantized. */
function searchedOf(demand: RewriterDemand, mapping: Mapping): GroupMember {
  const tasks = tasksOf(demand, mapping);
  return { mapping, columns: mapping.columns, tasks, byBlock: isByBlock(demand, mapping) };
}

function tasksOf({ tasks }: RewriterDemand, { balance }: Mapping): QuantizerTask[] {
  return ofModules(
    tasks,
    balance.map(({ module }) => module),
  );
}

/**
 * True if the mapping's block is run for each candidate. Of one Linear the Hessian knows the same; where rows share scales, rows that
 * are streamed do not say what they become.
 */
function isByBlock(demand: RewriterDemand, mapping: Mapping): boolean {
  if (settingsOf(demand).loss !== "block" || mapping.block === null) return mapping === glancedOf(demand);
  return tasksOf(demand, mapping).every(({ weights }) => weights.strategy !== "block");
}

/** Those mappings that a pass over these captures says something of, and those whose blocks are run. */
function searchedIn(demand: RewriterDemand, captures: readonly Capture[]): GroupMember[] {
  const read = new Set(captures.flatMap(({ modules }) => modules));
  return demand.mappings
    .map((mapping) => searchedOf(demand, mapping))
    .filter(({ mapping, byBlock }) => byBlock || mapping.balance.some(({ module }) => read.has(module)));
}

/** Experts that are run with what their Linears chose; those that are run for each candidate need no more. */
function guardedOf(demand: RewriterDemand): GuardedExperts | null {
  if (settingsOf(demand).loss === "block") return null;
  return guardedExperts(demand, (mapping) => searchedOf(demand, mapping));
}

/** Attention or the gated delta rule, which goes by what it gives out on a few tokens where all else goes by Hessians. */
function glancedOf(demand: RewriterDemand): Mapping | null {
  if (settingsOf(demand).loss === "block") return null;
  return glancedMapping(demand, (mapping) => tasksOf(demand, mapping));
}

/** What a block loses takes the place of what its Linears would. */
function take(search: Search | undefined, lost: Float64Array): void {
  if (!search) return;
  search.errors.set(lost);
  search.tokens.count = 1;
}

/** Has the blocks run that are to decide; what they lose takes the place of what Linears would. */
async function searchBlocks(
  run: RewriterRun,
  searches: ReadonlyMap<Mapping, Search>,
  total: number,
): Promise<void> {
  if (settingsOf(run).loss !== "block") return;
  const given = run.mappings.flatMap((mapping) => {
    const search = searches.get(mapping);
    const searched = searchedOf(run, mapping);
    return search && searched.byBlock ? [{ ...searched, ...search }] : [];
  });
  if (given.length === 0) return;
  using weights = await openCandidateWeights(run, given, total);
  const replace: BlockVariants["replace"] = (module, rows, variant) => weights.replace(module, rows, variant);
  const losses = await run.runBlocks(given.map(({ mapping }) => ({ mapping, count: total, replace })));
  for (const { mapping } of given) {
    const lost = losses.get(mapping);
    invariant(lost, "every block is run");
    take(searches.get(mapping), lost);
  }
}

function bytes(
  demand: RewriterDemand,
  pass: readonly Capture[],
  { freeBytes, maxBufferBytes }: QuantizerLimits,
): number | null {
  const total = candidates(settingsOf(demand)).length;
  const needed = searchGroups(searchedIn(demand, pass), total).map((group) =>
    searchBytes(group, total, freeBytes, maxBufferBytes),
  );
  const most = Math.max(0, ...needed);
  return most <= freeBytes ? most : null;
}

/** The candidate of least loss, the first of equal ones; the first one where no loss is finite. */
function bestOf(search: Search): number {
  const losses = lossesOf(search);
  let best = 0;
  for (let index = 0; index < losses.length; index++) {
    const loss = losses[index] ?? Number.NaN;
    if (Number.isFinite(loss) && !(loss >= (losses[best] ?? Number.NaN))) best = index;
  }
  return best;
}

function lossesOf({ errors, tokens }: Search): Float64Array {
  return errors.map((error) => error / Math.max(tokens.count, 1));
}

/**
 * What is folded of a candidate; where that is no scaling at all, nothing.
 * @throws CalibrationError if its loss is not finite
 */
function chosen(
  mapping: Mapping,
  search: Search,
  { best, byBlock }: { readonly best: number; readonly byBlock: boolean },
): Rewritten {
  const losses = lossesOf(search);
  const [loss, unscaledLoss] = [losses[best] ?? Number.NaN, losses[0] ?? Number.NaN];
  const [candidate, own] = [search.tried[best], search.scales[best]];
  invariant(candidate && own, "there are candidates");
  if (!Number.isFinite(loss)) {
    throw new CalibrationError(
      `Every scale that was tried for ${mapping.smooth} has an error that is NaN or infinite: activations or weights behind it overflow. Check the calibration text and the model's weights, or name mappings without it; finished layers are kept.`,
    );
  }
  const folds = own.every((scale) => scale === 1) ? [] : foldsOf(mapping, own);
  const { ratio, duo } = candidate;
  const report = { ratio, duo, loss, unscaledLoss, ...(byBlock ? { byBlock } : {}) };
  return { folds, report: { ...reportOf(AWQ.name, mapping, own), search: report } };
}
