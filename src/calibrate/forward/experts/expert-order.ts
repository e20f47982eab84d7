/** Routes sorted by expert, and within an expert by token: each expert's tokens are a run of `order`. */
export interface ExpertOrder {
  /** token · topK + choice of every route. */
  readonly order: Uint32Array<ArrayBuffer>;
  /** First entry of each expert; the last element is the number of routes. */
  readonly starts: Uint32Array<ArrayBuffer>;
}

/** Counting sort of the routes that the GPU chose: pairs of an expert and a weight. */
export function sortRoutes(routes: Uint32Array, experts: number): ExpertOrder {
  const count = routes.length / 2;
  const expertOf = (entry: number) => Math.min(routes[2 * entry] ?? 0, experts - 1);
  const starts = new Uint32Array(experts + 1);
  for (let entry = 0; entry < count; entry++)
    starts[expertOf(entry) + 1] = (starts[expertOf(entry) + 1] ?? 0) + 1;
  for (let expert = 0; expert < experts; expert++) {
    starts[expert + 1] = (starts[expert + 1] ?? 0) + (starts[expert] ?? 0);
  }
  const next = starts.slice();
  const order = new Uint32Array(count);
  for (let entry = 0; entry < count; entry++) {
    const expert = expertOf(entry);
    const place = next[expert] ?? 0;
    order[place] = entry;
    next[expert] = place + 1;
  }
  return { order, starts };
}
