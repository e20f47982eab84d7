// Submits that the GPU is not done with. A few may wait: enough to keep it busy, few enough to keep a desktop alive. Short copies are
// not among those: a ring's pieces bound them, they hold up nothing, and weights that wait in line with products come too late.

export interface SubmitsInFlight {
  /** @param isShort true for one that only copies, and not much */
  add(done: Promise<void>, isShort: boolean): void;
  /** Resolves when less than `most` submits are in flight that are not short. */
  room(): Promise<void>;
  /** Resolves when the GPU is done with all of them. */
  idle(): Promise<void>;
}

export function createSubmitsInFlight(most: number): SubmitsInFlight {
  const all = new Set<Promise<void>>();
  const long = new Set<Promise<void>>();
  return {
    add(done, isShort) {
      all.add(done);
      if (!isShort) long.add(done);
      void done.finally(() => {
        all.delete(done);
        long.delete(done);
      });
    },
    async room() {
      while (long.size >= most) await Promise.race(long);
    },
    async idle() {
      await Promise.all(all);
    },
  };
}
