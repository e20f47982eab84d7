// Arrays that are done with, for what comes next: memory that was written before is written some five times as fast as new memory, each
// of whose pages the system has to find and to clear first.

export interface SpareArrays {
  /** Takes an array that nobody uses any more. */
  give(bytes: Uint8Array<ArrayBuffer>): void;
  /** A buffer of so many bytes or more, or undefined. */
  take(bytes: number): ArrayBuffer | undefined;
  /** Lets go of what waits. */
  clear(): void;
}

/** @param limitBytes of what waits to be taken */
export function createSpareArrays(limitBytes: number): SpareArrays {
  let spare: ArrayBuffer[] = [];
  const held = () => spare.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return {
    give({ buffer }) {
      if (held() + buffer.byteLength <= limitBytes) spare.push(buffer);
    },
    take(bytes) {
      const found = spare.find(({ byteLength }) => byteLength >= bytes);
      // What is too small for this read will be so for the next ones of the same tensor.
      spare = found ? spare.filter((buffer) => buffer !== found) : [];
      return found;
    },
    clear() {
      spare = [];
    },
  };
}
