import { afterEach, expect, it, vi } from "vitest";
import { answerAtOnce, openedFolder } from "../../testing/sources/answered-folder.ts";
import { testTransport } from "../../testing/sources/fast-retry.ts";
import { memoryChunkStore } from "../../testing/stand-ins/memory-chunk-store.ts";
import { ChunkLoader } from "./chunk-loader.ts";
import { LOADER_LIMITS } from "./loader-limits.ts";

const CHUNK = 1000;
const CONTENTS = Uint8Array.from({ length: 4 * CHUNK }, (_, index) => (index * 7) & 255);
/** More than pass from the first byte of an answer to its last chunk. */
const MOMENTS = 120;

afterEach(() => {
  vi.unstubAllGlobals();
});

it("a read misses no chunk that comes in the moment between looking for it and asking for it", async () => {
  const folder = await openedFolder(CONTENTS);
  for (let moment = 0; moment < MOMENTS; moment++) {
    const limits = { ...LOADER_LIMITS, chunkBytes: CHUNK, requestChunks: 4 };
    const loader = await ChunkLoader.open(testTransport(), memoryChunkStore(), folder, limits);
    const asked = answerAtOnce(CONTENTS);
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
