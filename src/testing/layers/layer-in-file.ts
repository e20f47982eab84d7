// A layer whose tensors lie in a file, for tests in a page, which has no files that answer at once: what is read is a copy.

import { openLayerRoom } from "../../onload/layer-room.ts";
import type { HostLayer } from "../../onload/host-layer.ts";

const FILE_BYTES = 4 * 1024 ** 2;

/** The same layer with nothing of it in memory. */
export function layerInFile(host: HostLayer): HostLayer {
  const file = new Uint8Array(FILE_BYTES);
  const room = openLayerRoom(0, {
    read: (at, bytes) => file.slice(at, at + bytes),
    write: (at, bytes) => file.set(bytes, at),
  });
  const tensors = Array.from(host.tensors, ([name, { bytes, ...tensor }]) => {
    const place = room.allocate(bytes.byteLength);
    place.write(0, bytes.read(0, bytes.byteLength));
    return [name, { ...tensor, bytes: place }] as const;
  });
  return { tensors: new Map(tensors), replaced: new Map(), allocate: room.allocate };
}
