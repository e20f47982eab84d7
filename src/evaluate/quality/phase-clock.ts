/** Adds up where time goes. */
export interface PhaseClock {
  /** Runs something and counts its time to a phase. */
  time<Result>(phase: string, run: () => Promise<Result>): Promise<Result>;
  seconds(): Record<string, number>;
}

export function startPhaseClock(): PhaseClock {
  const phases = new Map<string, number>();
  return {
    async time(phase, run) {
      const started = performance.now();
      try {
        return await run();
      } finally {
        phases.set(phase, (phases.get(phase) ?? 0) + (performance.now() - started) / 1000);
      }
    },
    seconds: () => Object.fromEntries(phases),
  };
}
