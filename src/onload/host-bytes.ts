// Bytes of a layer between the source and the GPU, wherever they lie.

/** Bytes that are read and written piece by piece. */
export interface HostBytes {
  readonly byteLength: number;
  /** Bytes [start, end), to be read only: they may be a view of what lies there, or a copy. */
  read(start: number, end: number): Uint8Array<ArrayBuffer>;
  write(at: number, bytes: Uint8Array<ArrayBuffer>): void;
}

/** An array in the page's memory; what is read is a view of it. */
export function memoryBytes(array: Uint8Array<ArrayBuffer>): HostBytes {
  return {
    byteLength: array.byteLength,
    read: (start, end) => array.subarray(start, end),
    write: (at, bytes) => array.set(bytes, at),
  };
}

/** The part of others that begins at `first`. */
export function partOfBytes(bytes: HostBytes, first: number, byteLength: number): HostBytes {
  return {
    byteLength,
    read: (start, end) => bytes.read(first + start, first + end),
    write: (at, part) => bytes.write(first + at, part),
  };
}
