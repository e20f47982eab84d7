/** When a phase first began and last ended, in seconds. */
export interface PhaseSpan {
  readonly from: number;
  readonly to: number;
}

/** Adds up where time goes. */
export interface PhaseClock {
  /** Runs something and counts its time to a phase. */
  time<Result>(phase: string, run: () => Promise<Result>): Promise<Result>;
  /** Seconds since the clock was started. */
  now(): number;
  seconds(): Record<string, number>;
  /** When the phases were that have ended so far, after `since`: what lies side by side is seen here, and not in their sums. */
  spans(since: number): Record<string, PhaseSpan>;
}

export function startPhaseClock(): PhaseClock {
  const started = performance.now();
  const now = () => (performance.now() - started) / 1000;
  const phases = new Map<string, PhaseSpan & { readonly seconds: number }>();
  return {
    async time(phase, run) {
      const from = now();
      try {
        return await run();
      } finally {
        const to = now();
        const before = phases.get(phase);
        const seconds = (before?.seconds ?? 0) + to - from;
        phases.set(phase, { from: Math.min(before?.from ?? from, from), to, seconds });
      }
    },
    now,
    seconds: () => Object.fromEntries([...phases].map(([phase, { seconds }]) => [phase, seconds])),
    spans: (since) =>
      Object.fromEntries(
        [...phases].map(([phase, { from, to }]) => [phase, { from: from - since, to: to - since }]),
      ),
  };
}
