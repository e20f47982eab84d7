// Submits that held the GPU longest, with what was in them, so that a report can say what made a desktop stutter.

/** How many of the longest submits are kept. */
const LONGEST_KEPT = 5;

/** A submit that held the GPU for long. */
export interface LongSubmit {
  readonly milliseconds: number;
  readonly predictedMs: number;
  /** Kernels and how many dispatches of each: "gpu.matmul × 3". */
  readonly kernels: readonly string[];
}

/** The longest of these submits, worst first, as many as are kept. */
export function longestOf(submits: readonly LongSubmit[]): LongSubmit[] {
  return submits.toSorted((a, b) => b.milliseconds - a.milliseconds).slice(0, LONGEST_KEPT);
}

/** The names of these dispatches' kernels and how many there are of each, in the order in which they first come. */
export function countKernels(dispatches: readonly { readonly kernel: string }[]): string[] {
  const counts = new Map<string, number>();
  for (const { kernel } of dispatches) counts.set(kernel, (counts.get(kernel) ?? 0) + 1);
  return [...counts].map(([kernel, count]) => `${kernel} × ${count}`);
}
