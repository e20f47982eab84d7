import type { Routing } from "../../../model/decoder-description.ts";

/** One value an expert each; null where the routing has none. */
interface ReferenceVectors {
  readonly correction: ArrayLike<number> | null;
  readonly scales: ArrayLike<number> | null;
}

/** Experts of one token and their weights, best first: the plain version that the kernel is held against. */
export function referenceRoutes(
  logits: ArrayLike<number>,
  routing: Omit<Routing, "correction">,
  { correction, scales }: ReferenceVectors = { correction: null, scales: null },
): { expert: number; weight: number }[] {
  const found = unscaledRoutes(logits, routing, correction);
  return found.map(({ expert, weight }) => ({ expert, weight: weight * (scales?.[expert] ?? 1) }));
}

function unscaledRoutes(
  logits: ArrayLike<number>,
  routing: Omit<Routing, "correction">,
  correction: ReferenceVectors["correction"],
): { expert: number; weight: number }[] {
  const values = Array.from(logits);
  const { topK, scoring, normalizeTopK, scale } = routing;
  if (typeof scoring !== "string") return sparsemixer(values, scoring.jitter, scale);
  const largest = Math.max(...values);
  const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
  const scores = values.map((value) =>
    scoring === "softmax" ? Math.exp(value - largest) / sum : 1 / (1 + Math.exp(-value)),
  );
  const ranked = scores.map((score, expert) => ({
    expert,
    weight: score,
    worth: score + (correction?.[expert] ?? 0),
  }));
  const kept = keptGroups(
    ranked.map(({ worth }) => worth),
    routing.groups,
  );
  const size = values.length / (routing.groups?.count ?? 1);
  const chosen = ranked
    .filter(({ expert }) => kept.has(Math.floor(expert / size)))
    .toSorted((a, b) => b.worth - a.worth || a.expert - b.expert)
    .slice(0, topK);
  const total = normalizeTopK ? chosen.reduce((all, { weight }) => all + weight, 0) : 1;
  return chosen.map(({ expert, weight }) => ({ expert, weight: (scale * weight) / total }));
}

function keptGroups(worths: readonly number[], groups: Routing["groups"]): ReadonlySet<number> {
  if (!groups) return new Set([0]);
  const size = worths.length / groups.count;
  const ranked = Array.from({ length: groups.count }, (_, group) => {
    const [best = 0, second = 0] = worths.slice(group * size, (group + 1) * size).toSorted((a, b) => b - a);
    return { group, worth: groups.by === "best" ? best : best + second };
  });
  const best = ranked.toSorted((a, b) => b.worth - a.worth || a.group - b.group).slice(0, groups.kept);
  return new Set(best.map(({ group }) => group));
}

/** transformers' `sparsemixer`, without what it does in training. */
function sparsemixer(logits: readonly number[], jitter: number, scale: number) {
  const left = new Set(logits.keys());
  return [0, 1].map(() => {
    const best = Math.max(...[...left].map((expert) => logits[expert] ?? 0));
    const expert = [...left].find((each) => logits[each] === best) ?? 0;
    const close = [...left].filter((each) => {
      const logit = logits[each] ?? 0;
      return (best - logit) / Math.max(Math.abs(logit), best) <= 2 * jitter;
    });
    const sum = close.reduce((total, each) => total + Math.exp((logits[each] ?? 0) - best), 0);
    left.delete(expert);
    return { expert, weight: scale / sum };
  });
}
