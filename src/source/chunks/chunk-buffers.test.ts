import { afterEach, expect, it, vi } from "vitest";
import { answerAtOnce, openedFolder } from "../../testing/sources/answered-folder.ts";
import { testTransport } from "../../testing/sources/fast-retry.ts";
import { memoryChunkStore } from "../../testing/stand-ins/memory-chunk-store.ts";
import { ChunkLoader } from "./chunk-loader.ts";
import { LOADER_LIMITS } from "./loader-limits.ts";

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

const limits = { ...LOADER_LIMITS, chunkBytes: CHUNK, spareBytes: 4 * CHUNK, requestChunks: 8 };

it("a chunk that is read is not written over before it is copied, whenever another read has been the last of it", async () => {
  const folder = await openedFolder(CONTENTS);
  for (let moment = 0; moment < MOMENTS; moment++) {
    const loader = await ChunkLoader.open(testTransport(), memoryChunkStore(), folder, limits);
    const asked = answerAtOnce(CONTENTS, { type: "bytes" });
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
  const loader = await ChunkLoader.open(testTransport(), store, await openedFolder(CONTENTS), {
    ...limits,
    readerMs: 0,
  });
  await Promise.all([answerAtOnce(CONTENTS, { type: "bytes" }), loader.read(chunks(0, 1))]);
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
