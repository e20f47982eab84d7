import { afterEach, expect, it, vi } from "vitest";
import { startModelServer } from "../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../scripts/model-server/served-model.ts";
import { testTransport } from "../testing/fast-retry.ts";
import { memoryChunkStore } from "../testing/memory-chunk-store.ts";
import { createChunkBuffers } from "./chunk-buffers.ts";
import { ChunkLoader } from "./chunk-loader.ts";
import { LOADER_LIMITS } from "./loader-limits.ts";
import { openFolder } from "./open-folder.ts";

const CHUNK = 1000;
const PATH = "model.safetensors";
const CONTENTS = Uint8Array.from({ length: 8 * CHUNK }, (_, index) => (index * 7 + (index >> 8)) & 255);
/** Turns of microtasks after the first answer at which the other read begins. */
const MOMENTS = 16;
const chunks = (first: number, end: number) => ({ path: PATH, start: first * CHUNK, end: end * CHUNK });
const contentsOf = ({ start, end }: { start: number; end: number }) => CONTENTS.slice(start, end);

afterEach(() => {
  vi.unstubAllGlobals();
});

async function openedFolder() {
  const files = memoryModel({ "config.json": "{}", [PATH]: CONTENTS });
  const server = await startModelServer({ models: { "my/model": { files } } });
  const reference = { url: `${server.filesUrl}/my/model/`, file: null };
  const folder = await openFolder(testTransport(), reference, new AbortController().signal);
  await server.close();
  if (folder.kind !== "remote") throw new Error("a folder of a server is remote");
  return folder;
}

/** Answers with all of a range at once, as a stream that fills the buffers that it is given; resolves when it is asked. */
function answerAtOnce(): Promise<void> {
  return new Promise((asked) => {
    vi.stubGlobal("fetch", async (_address: string, { headers }: { headers: { Range: string } }) => {
      const [start = 0, last = 0] = headers.Range.replace("bytes=", "").split("-").map(Number);
      const body = new ReadableStream({
        type: "bytes",
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

const limits = { ...LOADER_LIMITS, chunkBytes: CHUNK, spareBytes: 4 * CHUNK, requestChunks: 8 };

it("lends what was given back, within its bound, and nothing of another size", () => {
  const buffers = createChunkBuffers(CHUNK, 2 * CHUNK);
  const given = [1, 2, 3].map(() => new Uint8Array(CHUNK));
  for (const bytes of [new Uint8Array(CHUNK - 1), ...given]) buffers.giveBack(bytes);
  const lent = [buffers.lend(), buffers.lend(), buffers.lend()];
  expect(lent.filter((buffer) => given.some((bytes) => bytes.buffer === buffer))).toHaveLength(2);
  expect(lent.every((buffer) => buffer.byteLength === CHUNK)).toBe(true);
});

it("a chunk that is read is not written over before it is copied, whenever another read has been the last of it", async () => {
  const folder = await openedFolder();
  for (let moment = 0; moment < MOMENTS; moment++) {
    const loader = await ChunkLoader.open(testTransport(), memoryChunkStore(), folder, limits);
    const asked = answerAtOnce();
    loader.prefetch([chunks(0, 8)]);
    const last = loader.take(chunks(0, 8));
    await asked;
    for (let passed = 0; passed < moment; passed++) await Promise.resolve();
    const other = loader.read(chunks(moment % 8, 8));
    expect(await other, `after ${moment} moments`).toEqual(contentsOf(chunks(moment % 8, 8)));
    expect(await last).toEqual(CONTENTS);
    loader[Symbol.dispose]();
  }
});

it("a chunk that is being stored is not written over when it is given up", async () => {
  const store = memoryChunkStore();
  const loader = await ChunkLoader.open(testTransport(), store, await openedFolder(), {
    ...limits,
    readerMs: 0,
  });
  await Promise.all([answerAtOnce(), loader.read(chunks(0, 1))]);
  let write = () => {};
  const written = new Promise<void>((resolve) => (write = resolve));
  store.beforeWrite = async () => await written;
  await loader.read(chunks(1, 2));
  const evicted = loader.evict([chunks(1, 2)]);
  expect(await loader.read(chunks(2, 3))).toEqual(contentsOf(chunks(2, 3)));
  write();
  await evicted;
  expect(await loader.read(chunks(3, 4))).toEqual(contentsOf(chunks(3, 4)));
  loader[Symbol.dispose]();
});
