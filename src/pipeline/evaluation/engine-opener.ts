// An engine that is opened before it is asked for: a device and 17 MB of WebAssembly take longer than a short prompt.

import { type PhaseClock, startPhaseClock } from "../../evaluate/quality/phase-clock.ts";
import { type Engine, type EngineOptions, openEngine } from "../../evaluate/runtime/engine.ts";
import { waitLater } from "../../wait-later.ts";

export interface EngineOpening {
  readonly options: EngineOptions;
  /** Of the opening, and of what is done with the engine. */
  readonly clock: PhaseClock;
  /** Rejects with what opening it throws. */
  readonly engine: Promise<Engine>;
}

/** One engine waits at a time; it has none of the GPU's memory, but a device. It is closed if its GPU goes away, or its runtime cannot come. */
export interface EngineOpener {
  /** Begins to open an engine, unless one of these options waits. */
  prepare(options: EngineOptions): void;
  /**
   * The engine that waits, or a new one in its place where it has not these options. Its runtime may still be on its way; whoever takes it
   * closes it.
   */
  take(options: EngineOptions): EngineOpening;
  /** Lets an engine that was taken, and not used, wait for the next one who asks. */
  giveBack(opening: EngineOpening): void;
  /** Closes the engine that waits. */
  close(): void;
}

/** @param open opens an engine */
export function createEngineOpener(open: typeof openEngine = openEngine): EngineOpener {
  const broken = new WeakSet<EngineOpening>();
  let waiting: EngineOpening | null = null;
  const close = () => {
    if (waiting) void waitLater(closeEngine(waiting));
    waiting = null;
  };
  // What comes next shall not get it; whoever has it is told by what it does.
  const breaks = (opening: EngineOpening) => {
    broken.add(opening);
    if (waiting === opening) close();
  };
  const begin = (options: EngineOptions): EngineOpening => {
    const clock = startPhaseClock();
    const opening = { options, clock, engine: waitLater(open(options, clock)) };
    void whenBroken(opening).then(() => breaks(opening));
    return opening;
  };
  const isWaiting = (options: EngineOptions) => waiting !== null && isSame(waiting.options, options);
  return {
    prepare(options) {
      if (isWaiting(options)) return;
      close();
      waiting = begin(options);
    },
    take(options) {
      const own = isWaiting(options) ? waiting : null;
      if (!own) close();
      waiting = null;
      return own ?? begin(options);
    },
    giveBack(opening) {
      close();
      waiting = opening;
      if (broken.has(opening)) close();
    },
    close,
  };
}

/** Resolves when an engine is of no use to anybody who did not begin with it. */
async function whenBroken({ engine }: EngineOpening): Promise<void> {
  try {
    const opened = await engine;
    await opened.ready();
    await (opened.gpu?.device.lost ?? new Promise(() => undefined));
  } catch {
    // Whoever asks for the next one is told why, if that cannot be had either.
  }
}

async function closeEngine({ engine }: EngineOpening): Promise<void> {
  await (await engine)[Symbol.asyncDispose]();
}

function isSame(a: EngineOptions, b: EngineOptions): boolean {
  return a.budgetBytes === b.budgetBytes && a.provider === b.provider;
}
