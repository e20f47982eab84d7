// What the network is doing, for the progress display.

/** Window over which the rate is taken: long enough to be steady, short enough to follow a change. */
const WINDOW_MS = 5000;
/** Bytes that arrive within this time are one sample. */
const SAMPLE_MS = 200;

export interface Traffic {
  /** Counts bytes of a response's body. */
  readonly received: (bytes: number) => void;
  /** Says that `task` waits and why, or, with null, that it goes on. */
  readonly waiting: (task: object, sentence: string | null) => void;
  readonly downloadedBytes: number;
  /** Over the last seconds; 0 while nothing flows. */
  bytesPerSecond(): number;
  /** Why the longest waiting task waits, or null. */
  readonly wait: string | null;
}

/** @param now clock in milliseconds */
export function createTraffic(now: () => number = () => performance.now()): Traffic {
  const samples: { at: number; bytes: number }[] = [];
  const waits = new Map<object, string>();
  let total = 0;
  return {
    received(bytes) {
      total += bytes;
      const last = samples.at(-1);
      if (last && now() - last.at < SAMPLE_MS) last.bytes += bytes;
      else samples.push({ at: now(), bytes });
      while (samples[0] && now() - samples[0].at > WINDOW_MS) samples.shift();
    },
    waiting(task, sentence) {
      if (sentence === null) waits.delete(task);
      else waits.set(task, sentence);
    },
    get downloadedBytes() {
      return total;
    },
    bytesPerSecond() {
      const recent = samples.filter(({ at }) => now() - at <= WINDOW_MS);
      const [first] = recent;
      if (!first) return 0;
      const seconds = Math.max(now() - first.at, SAMPLE_MS) / 1000;
      return recent.reduce((sum, { bytes }) => sum + bytes, 0) / seconds;
    },
    get wait() {
      return waits.values().next().value ?? null;
    },
  };
}
