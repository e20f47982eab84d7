// Bytes that wait in memory for their turn, of which there are to be no more than that holds.

export interface WaitingBytes {
  /** Resolves once there is room for more; what waits then may be as much too much as who asked in the meantime adds. */
  room(): Promise<void>;
  add(bytes: number): void;
  remove(bytes: number): void;
}

/** @param most above which there is no room */
export function createWaitingBytes(most: number): WaitingBytes {
  let waiting = 0;
  const asking: (() => void)[] = [];
  return {
    async room() {
      for (;;) {
        if (waiting <= most) return;
        await new Promise<void>((resolve) => asking.push(resolve));
      }
    },
    add(bytes) {
      waiting += bytes;
    },
    remove(bytes) {
      waiting -= bytes;
      for (const ask of asking.splice(0)) ask();
    },
  };
}
