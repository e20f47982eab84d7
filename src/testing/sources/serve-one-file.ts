// One file of 300,000 bytes on a server that can be told to misbehave, for the tests of a file.

import { afterAll, afterEach, beforeAll } from "vitest";
import { type ModelServer, startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { fetchRange, type RemoteFile } from "../../source/http/fetch-range.ts";
import { webHost } from "../../source/http/host.ts";
import { testTransport } from "./fast-retry.ts";

export const BYTES = 300_000;
export const content = Uint8Array.from({ length: BYTES }, (_, index) => (index * 31 + (index >> 8)) & 255);
export const never = new AbortController().signal;
const model = memoryModel({ "model.safetensors": content });

/** Serves it as `plain/model`, and as `moved/model` behind a redirect to another origin; faults and log are each test's own. */
export function serveOneFile() {
  let server: ModelServer;
  beforeAll(async () => {
    server = await startModelServer({
      models: { "plain/model": { files: model }, "moved/model": { files: model, redirect: true } },
    });
  });
  afterAll(async () => {
    await server.close();
  });
  afterEach(() => {
    server.faults.length = 0;
    server.log.length = 0;
  });
  const fileOf = (repository: string, changes: Partial<RemoteFile> = {}): RemoteFile => {
    const url = `${server.filesUrl}/${repository}/model.safetensors`;
    const validator = model.get("model.safetensors")?.etag ?? null;
    return { path: "model.safetensors", url, host: webHost(url), bytes: BYTES, validator, ...changes };
  };
  return {
    get server() {
      return server;
    },
    fileOf,
    read: async (
      start: number,
      end: number,
      file = fileOf("plain/model"),
      transport = testTransport(),
    ): Promise<Uint8Array> => await fetchRange(transport, file, { start, end }, never),
  };
}
