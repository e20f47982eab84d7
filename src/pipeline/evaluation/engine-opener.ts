// An engine that is opened before it is asked for: a device and 17 MB of WebAssembly take longer than a short prompt.

import { type PhaseClock, startPhaseClock } from "../../evaluate/quality/phase-clock.ts";
import { type Engine, type EngineOptions, openEngine } from "../../evaluate/runtime/engine.ts";
import { waitLater } from "../../wait-later.ts";

export interface EngineOpening {
  readonly options: EngineOptions;
  /** Of the opening, and of what is done with the engine. */
  readonly clock: PhaseClock;
  readonly engine: Promise<Engine>;
}

export interface EngineOpener {
  /** Begins to open an engine, unless one of these options waits. One waits at a time; it has none of the GPU's memory. */
  prepare(options: EngineOptions): EngineOpening;
  /**
   * Gives an engine away, whose runtime may still be on its way: whoever takes it closes it.
   * @throws what opening it throws
   */
  take(opening: EngineOpening): Promise<Engine>;
}

/** @param open opens an engine */
export function createEngineOpener(open: typeof openEngine = openEngine): EngineOpener {
  let waiting: EngineOpening | null = null;
  const forget = (opening: EngineOpening) => {
    if (waiting === opening) waiting = null;
  };
  const begin = (options: EngineOptions): EngineOpening => {
    const clock = startPhaseClock();
    const opening = { options, clock, engine: waitLater(open(options, clock)) };
    // One that fails, or whose GPU goes away while it waits, is not what the next one gets.
    void opening.engine.then(
      ({ gpu }) => void gpu?.device.lost.then(() => forget(opening)),
      () => forget(opening),
    );
    return opening;
  };
  return {
    prepare(options) {
      if (waiting && isSame(waiting.options, options)) return waiting;
      if (waiting) void waitLater(close(waiting));
      return (waiting = begin(options));
    },
    async take(opening) {
      forget(opening);
      return await opening.engine;
    },
  };
}

async function close({ engine }: EngineOpening): Promise<void> {
  await (await engine)[Symbol.asyncDispose]();
}

function isSame(a: EngineOptions, b: EngineOptions): boolean {
  return a.budgetBytes === b.budgetBytes && a.provider === b.provider;
}
