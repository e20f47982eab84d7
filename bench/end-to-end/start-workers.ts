// The application's two workers, connected as its page connects them.

import { transfer, wrap } from "comlink";
import type { CompressorApi } from "../../src/api/compressor-api.ts";
import { connectSource, type RemoteSource } from "../../src/pipeline/inspect/remote-source.ts";

export function startWorkers() {
  const compressorWorker = new Worker(new URL("../../workers/compressor.ts", import.meta.url), {
    type: "module",
    name: "compressor",
  });
  const sourceWorker = new Worker(new URL("../../workers/source.ts", import.meta.url), {
    type: "module",
    name: "source",
  });
  const compressor = wrap<CompressorApi>(compressorWorker);
  const ours = new MessageChannel();
  const theirs = new MessageChannel();
  const sourceDoor = wrap<{ connect(port: MessagePort): void }>(sourceWorker);
  void sourceDoor.connect(transfer(ours.port1, [ours.port1]));
  void sourceDoor.connect(transfer(theirs.port1, [theirs.port1]));
  void compressor.connect(transfer(theirs.port2, [theirs.port2]));
  const source: RemoteSource = connectSource(ours.port2);
  return {
    compressor,
    source,
    [Symbol.dispose]() {
      compressorWorker.terminate();
      sourceWorker.terminate();
    },
  };
}
