// The network thread as the GPU thread sees it.

import * as Comlink from "comlink";
import type { SourceApi } from "../../api/source-api.ts";

export type RemoteSource = Comlink.Remote<SourceApi>;

export function connectSource(port: MessagePort): RemoteSource {
  return Comlink.wrap<SourceApi>(port);
}
