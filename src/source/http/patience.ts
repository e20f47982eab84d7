// How long one connection is waited for: the time to the next bytes is bounded, and so is falling behind a least rate.

import type { Host } from "./host.ts";
import { stalled } from "./http-failure.ts";
import type { TransientFailure, Transport } from "./retry.ts";

export interface Patience {
  /**
   * Starts to wait; only this time counts, not what a reader does between. Tells of a silence once it lasts.
   * @param giveUp is called when patience has run out
   * @returns what ends the waiting
   */
  begin(giveUp: (stall: TransientFailure) => void): () => void;
  /** So many bytes came: they win back the time that they may take at the least rate. */
  came(bytes: number): void;
}

/** Patience with one answer of a host to the request for `what`. */
export function createPatience({ timing, traffic }: Transport, host: Host, what: string): Patience {
  const { stallMs, silenceMs, leastBytesPerSecond } = timing;
  const seconds = Math.ceil(silenceMs / 1000);
  const giveUpAfter = Math.ceil(stallMs / 1000);
  const silence = `waiting for ${host.name}, silent for ${seconds} s; given up after ${giveUpAfter} s`;
  let left = stallMs;
  return {
    begin(giveUp) {
      const began = performance.now();
      const task = {};
      const telling = setTimeout(() => traffic.waiting(task, silence), Math.min(silenceMs, left));
      const ending = setTimeout(() => giveUp(stalled(host, what, timing)), left);
      return () => {
        clearTimeout(telling);
        clearTimeout(ending);
        traffic.waiting(task, null);
        left = Math.max(0, left - (performance.now() - began));
      };
    },
    came(bytes) {
      left = Math.min(stallMs, left + (bytes / leastBytesPerSecond) * 1000);
    },
  };
}
