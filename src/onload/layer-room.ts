// Room for a layer's bytes: in the page's memory as far as that goes, behind it in a file.

import { type HostBytes, memoryBytes } from "./host-bytes.ts";

/** A file whose bytes are read and written where they are wanted. */
export interface LayerFile {
  read(at: number, bytes: number): Uint8Array<ArrayBuffer>;
  write(at: number, bytes: Uint8Array<ArrayBuffer>): void;
}

export interface LayerRoom {
  /** Takes room; null where it is the page's memory, in which an array may lie. */
  take(bytes: number): HostBytes | null;
  /** Takes room, whichever it is. */
  readonly allocate: (bytes: number) => HostBytes;
}

/**
 * Room for one layer, which has the whole file for as long as it is at work.
 * @param memory bytes that may lie in memory; all do where there is no file
 */
export function openLayerRoom(memory: number, file: LayerFile | null): LayerRoom {
  let held = 0;
  let end = 0;
  const take = (bytes: number): HostBytes | null => {
    if (!file || held + bytes <= memory) {
      held += bytes;
      return null;
    }
    const first = end;
    end += bytes;
    return {
      byteLength: bytes,
      read: (start, stop) => file.read(first + start, stop - start),
      write: (at, part) => file.write(first + at, part),
    };
  };
  return { take, allocate: (bytes) => take(bytes) ?? memoryBytes(new Uint8Array(bytes)) };
}
