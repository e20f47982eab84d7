/** Items of a loop, each as much work as the others. */
export interface LoopWork {
  readonly count: number;
  /** Work units of one item. */
  readonly workEach: number;
  /** Cuts lie at multiples of so many items, where they are aligned. */
  readonly multiple: number;
}

/** Cuts a loop into runs whose work stays within a limit, which is read anew for each run; each has `multiple` items at least. */
export function* cutWork(
  limit: () => number,
  { count, workEach, multiple }: LoopWork,
): Generator<{ first: number; end: number }> {
  let first = 0;
  while (first < count) {
    const items = Math.floor(limit() / workEach / multiple) * multiple;
    const end = Math.min(first + Math.max(items, multiple), count);
    yield { first, end };
    first = end;
  }
}
