import { afterEach, expect, it, vi } from "vitest";
import { startModelServer } from "../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../scripts/model-server/served-model.ts";
import { testTransport } from "../testing/fast-retry.ts";
import { memoryChunkStore } from "../testing/memory-chunk-store.ts";
import { ChunkLoader } from "./chunk-loader.ts";
import { LOADER_LIMITS } from "./loader-limits.ts";
import { openFolder } from "./open-folder.ts";

const CHUNK = 1000;
const CONTENTS = Uint8Array.from({ length: 4 * CHUNK }, (_, index) => (index * 7) & 255);
/** More than pass from the first byte of an answer to its last chunk. */
const MOMENTS = 120;

afterEach(() => {
  vi.unstubAllGlobals();
});

async function openedFolder() {
  const files = memoryModel({ "config.json": "{}", "model.safetensors": CONTENTS });
  const server = await startModelServer({ models: { "my/model": { files } } });
  const reference = { url: `${server.filesUrl}/my/model/`, file: null };
  const folder = await openFolder(testTransport(), reference, new AbortController().signal);
  await server.close();
  if (folder.kind !== "remote") throw new Error("a folder of a server is remote");
  return folder;
}

/** Answers with all of a range at once, so that its chunks come in one turn of the event loop; resolves when it is asked. */
function answerAtOnce(): Promise<void> {
  return new Promise((asked) => {
    vi.stubGlobal("fetch", async (_address: string, { headers }: { headers: { Range: string } }) => {
      const [start = 0, last = 0] = headers.Range.replace("bytes=", "").split("-").map(Number);
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(CONTENTS.slice(start, last + 1));
          controller.close();
        },
      });
      asked();
      const range = `bytes ${start}-${last}/${CONTENTS.byteLength}`;
      return await Promise.resolve(new Response(body, { status: 206, headers: { "content-range": range } }));
    });
  });
}

it("a read misses no chunk that comes in the moment between looking for it and asking for it", async () => {
  const folder = await openedFolder();
  for (let moment = 0; moment < MOMENTS; moment++) {
    const limits = { ...LOADER_LIMITS, chunkBytes: CHUNK, requestChunks: 4 };
    const loader = await ChunkLoader.open(testTransport(), memoryChunkStore(), folder, limits);
    const asked = answerAtOnce();
    loader.prefetch([{ path: "model.safetensors", start: 0, end: CONTENTS.byteLength }]);
    await asked;
    for (let passed = 0; passed < moment; passed++) await Promise.resolve();
    let read: Uint8Array | null = null;
    const reading = loader.take({ path: "model.safetensors", start: 2 * CHUNK, end: 4 * CHUNK });
    void reading.then((bytes) => (read = bytes));
    const check = () => expect(read, `after ${moment} moments`).toEqual(CONTENTS.slice(2 * CHUNK));
    await vi.waitFor(check, { timeout: 60_000, interval: 1 });
    loader[Symbol.dispose]();
  }
});
