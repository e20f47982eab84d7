// Submits that the GPU is not done with. A few may wait: enough to keep it busy, few enough to keep a desktop alive. Short copies are
// not among those: a ring's pieces bound them, they hold up nothing, and weights that wait in line with products come too late.

export interface SubmitsInFlight {
  /**
   * @param milliseconds what it is thought to take
   * @param isShort true for one that only copies, and not much
   */
  add(done: Promise<void>, milliseconds: number, isShort: boolean): void;
  /** Resolves when there is room for one more that is not short. */
  room(): Promise<void>;
  /** Resolves when the GPU is done with all of them. */
  idle(): Promise<void>;
}

/** What may be in flight together, short ones aside; more than one alone is never waited for. */
export interface InFlightLimits {
  /** Counted by time, since transfers cut submits into pieces of any length. */
  readonly milliseconds: number;
  readonly submits: number;
}

export function createSubmitsInFlight(most: InFlightLimits): SubmitsInFlight {
  const all = new Set<Promise<void>>();
  const long = new Map<Promise<void>, number>();
  let waiting = 0;
  return {
    add(done, milliseconds, isShort) {
      all.add(done);
      if (!isShort) {
        long.set(done, milliseconds);
        waiting += milliseconds;
      }
      void done.finally(() => {
        all.delete(done);
        if (long.delete(done)) waiting = long.size === 0 ? 0 : waiting - milliseconds;
      });
    },
    async room() {
      while (long.size > 1 && (waiting >= most.milliseconds || long.size >= most.submits))
        await Promise.race(long.keys());
    },
    async idle() {
      await Promise.all(all);
    },
  };
}
