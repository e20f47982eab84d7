// A file in memory as the GPU thread sees one that a user dropped on the page: through the source and across a port.

import { connectSource, type RemoteSource } from "../../pipeline/inspect/remote-source.ts";
import { createSource } from "../../source/create-source.ts";

/** Opens a model of one file. Whatever is derived from it reads at this path. */
export async function openDroppedFile(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<RemoteSource> {
  const source = createSource({ base: location.href });
  const file = new File([bytes], path);
  await source.open({ kind: "files", files: [{ path: `model/${path}`, file }] }, null);
  const { port1, port2 } = new MessageChannel();
  source.connect(port1);
  return connectSource(port2);
}
