// A model's folder whose one file is answered for at once, for tests of what happens in the moments of an answer.

import { vi } from "vitest";
import { startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { openFolder } from "../../source/folders/open-folder.ts";
import { testTransport } from "./fast-retry.ts";

type Contents = Uint8Array<ArrayBuffer>;

/** Opens a remote folder with `model.safetensors`; its server has gone. */
export async function openedFolder(contents: Contents) {
  const files = memoryModel({ "config.json": "{}", "model.safetensors": contents });
  const server = await startModelServer({ models: { "my/model": { files } } });
  const reference = { url: `${server.filesUrl}/my/model/`, file: null };
  const folder = await openFolder(testTransport(), reference, new AbortController().signal);
  await server.close();
  if (folder.kind !== "remote") throw new Error("a folder of a server is remote");
  return folder;
}

/**
 * Answers with all of a range at once, so that its chunks come in one turn of the event loop; resolves when it is asked.
 * @param source of the stream: `{ type: "bytes" }` fills the buffers that it is given
 */
export function answerAtOnce(contents: Contents, source: { readonly type?: "bytes" } = {}): Promise<void> {
  return new Promise((asked) => {
    vi.stubGlobal("fetch", async (_address: string, { headers }: { headers: { Range: string } }) => {
      const [start = 0, last = 0] = headers.Range.replace("bytes=", "").split("-").map(Number);
      const body = new ReadableStream({
        ...source,
        start(controller: Pick<ReadableStreamDefaultController<Contents>, "enqueue" | "close">) {
          controller.enqueue(contents.slice(start, last + 1));
          controller.close();
        },
      } as UnderlyingDefaultSource<Contents>);
      asked();
      const range = `bytes ${start}-${last}/${contents.byteLength}`;
      return await Promise.resolve(new Response(body, { status: 206, headers: { "content-range": range } }));
    });
  });
}
