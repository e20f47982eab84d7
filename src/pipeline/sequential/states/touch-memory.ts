/** What a thread that touches memory serves. */
export interface ToucherApi {
  /** New memory, all of whose pages the system has found and cleared. */
  touch(bytes: number): ArrayBuffer;
}

/** No page of memory is smaller. */
const PAGE_BYTES = 4096;

/** Makes a buffer of zeros and writes to each of its pages. */
export function touchMemory(bytes: number): ArrayBuffer {
  const memory = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += PAGE_BYTES) memory[at] = 0;
  return memory.buffer;
}
