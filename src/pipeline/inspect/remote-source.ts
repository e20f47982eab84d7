// The network thread as the GPU thread sees it.

import * as Comlink from "comlink";
import type { AcrossThreads } from "../../api/across-threads.ts";
import type { SourceApi } from "../../api/source-api.ts";

/** Every call is a message. A plain object: a source that is derived from another one replaces some of its functions. */
export type RemoteSource = AcrossThreads<SourceApi>;

export function connectSource(port: MessagePort): RemoteSource {
  const remote = Comlink.wrap<SourceApi>(port);
  return {
    open: async (reference, token) => await remote.open(reference, token),
    readFile: async (path, maxBytes) => await remote.readFile(path, maxBytes),
    readRange: async (range) => await remote.readRange(range),
    read: async (range, spare) => await remote.read(range, ...moved(spare)),
    take: async (range, spare) => await remote.take(range, ...moved(spare)),
    prefetch: async (ranges) => await remote.prefetch(ranges),
    release: async () => await remote.release(),
    use: async (range) => await remote.use(range),
    evict: async (ranges) => await remote.evict(ranges),
    datasetRows: async (request) => await remote.datasetRows(request),
    missingBytes: async (ranges) => await remote.missingBytes(ranges),
    progress: async () => await remote.progress(),
    pause: async () => await remote.pause(),
    resume: async () => await remote.resume(),
    stored: async () => await remote.stored(),
    deleteStored: async (key) => await remote.deleteStored(key),
    connect: async (other) => await remote.connect(Comlink.transfer(other, [other])),
  };
}

function moved(spare: ArrayBuffer | undefined): ArrayBuffer[] {
  return spare ? [Comlink.transfer(spare, [spare])] : [];
}
