// Arrays that are done with, for what comes next: memory that was written before is written some five times as fast as new memory, each
// of whose pages the system has to find and to clear first.

/** Long enough for what comes layer by layer on a fast GPU; where layers take longer, new memory for each of them does not count. */
const IDLE_MS = 20_000;

export interface SpareArrays {
  /** Takes an array that nobody uses any more. */
  give(bytes: Uint8Array<ArrayBuffer>): void;
  /** A buffer of so many bytes or more, or undefined. */
  take(bytes: number): ArrayBuffer | undefined;
  /** Lets go of what waits. */
  clear(): void;
}

/**
 * @param limitBytes of what waits to be taken
 * @param idleMs after so long without any of it being taken or given, nothing waits any more
 */
export function createSpareArrays(limitBytes: number, idleMs = IDLE_MS): SpareArrays {
  let spare: ArrayBuffer[] = [];
  let idle: ReturnType<typeof setTimeout> | undefined;
  const clear = () => {
    clearTimeout(idle);
    spare = [];
  };
  const wait = () => {
    clearTimeout(idle);
    if (spare.length > 0) idle = setTimeout(clear, idleMs);
  };
  const held = () => spare.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return {
    give({ buffer }) {
      if (held() + buffer.byteLength <= limitBytes) spare.push(buffer);
      wait();
    },
    take(bytes) {
      const found = spare.find(({ byteLength }) => byteLength >= bytes);
      // What is too small for this read will be so for the next ones of the same tensor.
      spare = found ? spare.filter((buffer) => buffer !== found) : [];
      wait();
      return found;
    },
    clear,
  };
}

/** An array of so many bytes, in `spare` if that has room for them. */
export function arrayOf(bytes: number, spare: ArrayBuffer | undefined): Uint8Array<ArrayBuffer> {
  return spare && spare.byteLength >= bytes ? new Uint8Array(spare, 0, bytes) : new Uint8Array(bytes);
}
