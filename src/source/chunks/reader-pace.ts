// Whether a reader keeps up with what is fetched for it.

export interface ReaderPace extends Disposable {
  /** Something was read. */
  read(): void;
  /** Milliseconds for which the reader counts as keeping up; none if it has not read for long. */
  rest(): number;
  /** Calls back when that time is over; once, however often it is asked for. */
  afterRest(then: () => void): void;
}

/** @param readerMs a reader that has read within so many milliseconds keeps up */
export function createReaderPace(readerMs: number): ReaderPace {
  let last = Number.NEGATIVE_INFINITY;
  let wake: ReturnType<typeof setTimeout> | null = null;
  const rest = () => last + readerMs - performance.now();
  return {
    read() {
      last = performance.now();
    },
    rest,
    afterRest(then) {
      wake ??= setTimeout(() => {
        wake = null;
        then();
      }, rest());
    },
    [Symbol.dispose]() {
      if (wake !== null) clearTimeout(wake);
    },
  };
}
