// Fixtures as sources: dropped on the page, or downloaded from a server in memory.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RemoteSource } from "../../pipeline/inspect/remote-source.ts";
import type { Job } from "../../pipeline/job/job.ts";
import { LOADER_LIMITS, type LoaderLimits } from "../../source/chunks/loader-limits.ts";
import { createSource } from "../../source/create-source.ts";
import { memoryChunkStore } from "../stand-ins/memory-chunk-store.ts";
import { memoryFetch } from "../stand-ins/memory-server.ts";
import type { JobChanges } from "./asked-job.ts";

export const BASE = "http://localhost/";
const FIXTURES = "e2e/fixtures/architectures";

/** Small, so that a model of the fixtures has some ten of them, and stored at once. */
const LIMITS: LoaderLimits = {
  ...LOADER_LIMITS,
  chunkBytes: 20 * 1024,
  requests: 1,
  hotBytes: 40 * 1024,
  unwrittenBytes: 20 * 1024,
  delayMs: 0,
  readerMs: 0,
};

/** What opens files that are dropped. */
export function droppedSource(): RemoteSource {
  return createSource({ base: BASE, store: memoryChunkStore() }) as unknown as RemoteSource;
}

/** A source of its own, as each visit of the page has, on the database of now. */
export function servedSource(name: string): RemoteSource {
  const folder = join(FIXTURES, name);
  const files = pathsOf(name).map(
    (path) => [path, new Uint8Array(readFileSync(join(folder, path)))] as const,
  );
  globalThis.fetch = memoryFetch(`${BASE}${name}/`, new Map(files));
  return createSource({ base: BASE, limits: LIMITS }) as unknown as RemoteSource;
}

/** The same source, which tells of each range that is read, and of each array that a layer's bytes come in. */
export function toldOf(
  source: Job["source"],
  { onRead, onTaken }: Pick<JobChanges, "onRead" | "onTaken">,
): Job["source"] {
  return {
    ...source,
    async read(range, spare) {
      await onRead?.(range);
      return await source.read(range, spare);
    },
    async take(range) {
      const bytes = await source.take(range);
      await onTaken?.(bytes);
      return bytes;
    },
  };
}

function pathsOf(name: string): string[] {
  return readdirSync(join(FIXTURES, name)).filter((path) => !path.startsWith("reference"));
}

/** A fixture's files, as they are dropped. */
export function filesOf(name: string) {
  const folder = join(FIXTURES, name);
  return pathsOf(name).map((path) => {
    const file = new File([readFileSync(join(folder, path))], path, { lastModified: 0 });
    return { path: `${name}/${path}`, file };
  });
}
