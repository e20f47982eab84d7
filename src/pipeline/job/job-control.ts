// Pause, resume and cancel of a running job: tasks ask here between two pieces of work.

export interface JobControl {
  readonly signal: AbortSignal;
  readonly paused: boolean;
  /** Waits while paused; throws an AbortError once cancelled. */
  checkpoint(): Promise<void>;
  pause(): void;
  resume(): void;
  cancel(): void;
}

export function createJobControl(): JobControl {
  const controller = new AbortController();
  let gate: PromiseWithResolvers<void> | null = null;
  const open = () => {
    gate?.resolve();
    gate = null;
  };
  return {
    signal: controller.signal,
    get paused() {
      return gate !== null;
    },
    async checkpoint() {
      await gate?.promise;
      controller.signal.throwIfAborted();
    },
    pause() {
      gate ??= Promise.withResolvers<void>();
    },
    resume: open,
    cancel() {
      controller.abort(new DOMException("The job was cancelled.", "AbortError"));
      open();
    },
  };
}
