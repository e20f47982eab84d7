/** Experts of one token and their weights, largest first: the plain version that the kernel is held against. */
export function referenceRoutes(
  logits: ArrayLike<number>,
  topK: number,
  normalize: boolean,
): { expert: number; weight: number }[] {
  const values = Array.from(logits);
  const largest = Math.max(...values);
  const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
  const chosen = values
    .map((value, expert) => ({ expert, weight: Math.exp(value - largest) / sum }))
    .toSorted((a, b) => b.weight - a.weight || a.expert - b.expert)
    .slice(0, topK);
  const total = normalize ? chosen.reduce((all, { weight }) => all + weight, 0) : 1;
  return chosen.map(({ expert, weight }) => ({ expert, weight: weight / total }));
}
