// Pause, resume and cancel of a running job: tasks ask here between two pieces of work.

export interface JobControl {
  readonly signal: AbortSignal;
  readonly paused: boolean;
  /** How often it was paused so far. */
  readonly pauses: number;
  /** Milliseconds of a steady clock that stands still while paused: what the job's work is timed by. */
  readonly now: () => number;
  /** Waits while paused; throws an AbortError once cancelled. */
  checkpoint(): Promise<void>;
  pause(): void;
  resume(): void;
  cancel(): void;
}

/** @param clock milliseconds of a steady clock */
export function createJobControl(clock = () => performance.now()): JobControl {
  const controller = new AbortController();
  let gate: (PromiseWithResolvers<void> & { readonly since: number }) | null = null;
  let pausedFor = 0;
  let pauses = 0;
  const open = () => {
    if (!gate) return;
    pausedFor += clock() - gate.since;
    gate.resolve();
    gate = null;
  };
  return {
    signal: controller.signal,
    get paused() {
      return gate !== null;
    },
    get pauses() {
      return pauses;
    },
    now: () => (gate?.since ?? clock()) - pausedFor,
    async checkpoint() {
      await gate?.promise;
      controller.signal.throwIfAborted();
    },
    pause() {
      if (gate) return;
      gate = { ...Promise.withResolvers<void>(), since: clock() };
      pauses++;
    },
    resume: open,
    cancel() {
      controller.abort(new DOMException("The job was cancelled.", "AbortError"));
      open();
    },
  };
}
