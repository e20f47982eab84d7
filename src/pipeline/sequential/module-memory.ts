// Arrays for modules on their way between jobs, of which the next layer has as many of the same lengths: memory that was written before
// is written some five times as fast as new memory.

type Bytes = Uint8Array<ArrayBuffer>;

/** What waits to be used again. */
const MOST_BYTES = 256 * 1024 ** 2;
/** Reports behind the tensors differ in length from layer to layer. */
const STEP_BYTES = 64 * 1024;

export interface ModuleMemory {
  /** An array of so many bytes, whatever they are. */
  take(bytes: number): Bytes;
  /** Takes an array that nobody uses any more. */
  give(bytes: Bytes): void;
}

export function createModuleMemory(mostBytes = MOST_BYTES): ModuleMemory {
  const spare = new Map<number, ArrayBuffer[]>();
  let held = 0;
  return {
    take(bytes) {
      const length = Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;
      const found = spare.get(length)?.pop();
      if (found) held -= length;
      return new Uint8Array(found ?? new ArrayBuffer(length), 0, bytes);
    },
    give({ buffer }) {
      const { byteLength } = buffer;
      // What came otherwise fits nothing.
      if (byteLength % STEP_BYTES > 0 || held + byteLength > mostBytes) return;
      held += byteLength;
      const alike = spare.get(byteLength) ?? [];
      alike.push(buffer);
      spare.set(byteLength, alike);
    },
  };
}
