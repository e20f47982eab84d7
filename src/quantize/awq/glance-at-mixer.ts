// Scales before attention or the gated delta rule are told apart by what these give out, on a few tokens: a softmax or a recurrence stands
// between queries, keys and values, of which the Hessian of their input knows nothing (docs/quality.md has what that costs).

import type { Mapping } from "../../model/mappings.ts";
import type { Glance, GlanceDemand, RewriterDemand, RewriterRun } from "../rewriter.ts";
import { candidateWeightsBytes, openCandidateWeights } from "./candidate-weights.ts";
import type { Candidate } from "./candidates.ts";
import { type GroupMember, type Search, searchPass } from "./search-mappings.ts";
import { searchBytes } from "./search-memory.ts";

/** What the means of weights, and their ranges, may take while samples run. */
const SEARCH_BYTES = 32 * 1024 ** 2;

/** The mapping whose block is glanced at; null where there is none, or rows that are streamed do not say what they become. */
export function glancedMapping(
  { mappings }: RewriterDemand,
  tasksOf: (mapping: Mapping) => GroupMember["tasks"],
): Mapping | null {
  const mapping = mappings.find(({ block }) => block === "mixer");
  return mapping && tasksOf(mapping).every(({ weights }) => weights.strategy !== "block") ? mapping : null;
}

export function glanceDemand(member: GroupMember, count: number, maxBufferBytes: number): GlanceDemand {
  const search = searchBytes([member], count, SEARCH_BYTES, maxBufferBytes);
  return { mapping: member.mapping, count, bytes: search + candidateWeightsBytes([member], count) };
}

/** Begins the member's search with the means of all tokens. */
export function glanceAt(
  run: RewriterRun,
  member: GroupMember,
  { tried, duo }: { readonly tried: readonly Candidate[]; readonly duo: boolean },
  searches: Map<Mapping, Search>,
): Glance {
  const seen = {
    captures: [],
    hessian: () => {
      throw new TypeError("no Hessian was collected");
    },
    tokens: () => 0,
    glanced: null,
  };
  return {
    mapping: member.mapping,
    count: tried.length,
    async begin() {
      const own = { ...run, freeBytes: SEARCH_BYTES };
      await searchPass({ run: own, pass: seen, group: [member], tried, duo }, searches);
      const search = searches.get(member.mapping);
      return await openCandidateWeights(run, search ? [{ ...member, ...search }] : [], tried.length);
    },
  };
}
