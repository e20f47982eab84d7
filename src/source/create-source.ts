// The network thread's side of the contract in api/source-api.ts: one open model, its downloads, and what is stored.

import { madeOf } from "../disposal.ts";
import { AccessError, invariant, MalformedModelError } from "../errors.ts";
import { formatBytes } from "../formats/text/format-bytes.ts";
import { standInSentence } from "../formats/files/stand-in.ts";
import { ChunkLoader } from "./chunks/chunk-loader.ts";
import type { LoaderLimits } from "./chunks/loader-limits.ts";
import { type ChunkStore, openChunkStore } from "./chunks/chunk-store.ts";
import { datasetRows, ROWS_URL } from "./dataset-rows.ts";
import { exposeSource } from "./expose-source.ts";
import { fetchRange } from "./http/fetch-range.ts";
import type { StreamSpans } from "./http/fetch-threads.ts";
import type { ModelFolder } from "./folders/model-folder.ts";
import { openFiles, readDropped } from "./folders/open-files.ts";
import { openFolder } from "./folders/open-folder.ts";
import { openHub } from "./folders/open-hub.ts";
import { parseSource } from "./parse-source.ts";
import { RETRY_TIMING, type RetryTiming, type Transport } from "./http/retry.ts";
import { createTraffic } from "./http/traffic.ts";
import type { FileRange } from "../formats/files/file-ranges.ts";
import type { OpenedSource, SourceApi, SourceReference } from "../api/source-api.ts";

const HUB_URL = "https://huggingface.co";

export interface SourceOptions {
  /** The page's own folder: relative addresses resolve against it. */
  readonly base: string;
  /** Another Hub, for tests; an origin without a path. */
  readonly hubUrl?: string;
  /** Another rows service, for tests. */
  readonly rowsUrl?: string;
  readonly timing?: RetryTiming;
  /** Smaller chunks, for tests. */
  readonly limits?: LoaderLimits;
  /** How chunks come, where not through the calling thread. */
  readonly stream?: StreamSpans;
  readonly store?: ChunkStore;
}

/** A model that is open: `loader` is null for dropped files, which need no downloads. */
interface Session {
  readonly folder: ModelFolder;
  readonly loader: ChunkLoader | null;
  /** Aborted when another model is opened. */
  readonly end: AbortController;
}

/** Makes the source of one page. Its token lives in the open session and nowhere else. */
export function createSource(options: SourceOptions): SourceApi {
  const timing = options.timing ?? RETRY_TIMING;
  const transport: Transport = { timing, traffic: createTraffic(), reached: new Set() };
  const store = options.store ?? openChunkStore();
  let session: Session | null = null;
  let opening = new AbortController();
  const current = () => openSession(session);
  const source: SourceApi = {
    async open(reference, token) {
      opening.abort();
      opening = new AbortController();
      const { signal } = opening;
      const folder = await find(options, transport, { reference, token: checkToken(token) }, signal);
      const { limits, stream } = options;
      return await madeOf(async (parts) => {
        const loader =
          folder.kind === "remote"
            ? parts.use(await ChunkLoader.open(transport, store, folder, limits, stream))
            : null;
        signal.throwIfAborted();
        session?.end.abort();
        session?.loader?.[Symbol.dispose]();
        session = { folder, loader, end: new AbortController() };
        return folder.opened;
      });
    },
    readFile: async (path, maxBytes) => await readFile(transport, current(), path, maxBytes),
    readRange: async (range) => await readDirectly(transport, current(), range),
    ...reading(transport, current),
    datasetRows: async (request) =>
      await datasetRows(transport, options.rowsUrl ?? ROWS_URL, request, opening.signal),
    progress: () => ({
      downloadedBytes: transport.traffic.downloadedBytes,
      bytesPerSecond: transport.traffic.bytesPerSecond(),
      storedBytes: session?.loader?.storedBytes ?? 0,
      waiting: transport.traffic.wait,
    }),
    ...loading(() => session?.loader ?? null),
    stored: async () => await store.sources(),
    async deleteStored(key) {
      const opened = session?.folder.opened.key;
      if (key === null || key === opened) await session?.loader?.deleteStored();
      await store.deleteSource(key);
    },
    connect: (port) => exposeSource(source, port),
  };
  return source;
}

function openSession(session: Session | null): Session {
  invariant(session, "a model is opened before it is read");
  return session;
}

function reading(transport: Transport, current: () => Session): Pick<SourceApi, "read" | "take"> {
  const directly = async (range: FileRange) => await readDirectly(transport, current(), range);
  return {
    read: async (range, spare) => await (current().loader?.read(range, spare) ?? directly(range)),
    take: async (range, spare) => await (current().loader?.take(range, spare) ?? directly(range)),
  };
}

/** Nothing of this has a meaning where nothing is downloaded. */
function loading(
  loader: () => ChunkLoader | null,
): Pick<SourceApi, "prefetch" | "release" | "use" | "evict" | "missingBytes" | "pause" | "resume"> {
  return {
    prefetch: (ranges) => loader()?.prefetch(ranges),
    release: () => loader()?.release(),
    use: (range) => loader()?.use(range),
    evict: async (ranges) => await loader()?.evict(ranges),
    missingBytes: async (ranges) => loader()?.missingBytes(ranges) ?? 0,
    pause: () => loader()?.pause(),
    resume: () => loader()?.resume(),
  };
}

interface Wanted {
  readonly reference: SourceReference;
  readonly token: string | null;
}

async function find(
  { base, hubUrl = HUB_URL }: SourceOptions,
  transport: Transport,
  { reference, token }: Wanted,
  signal: AbortSignal,
): Promise<ModelFolder> {
  if (reference.kind === "files") return await openFiles(reference.files);
  const address = parseSource(reference.address, { base, hubUrl });
  if (address.kind === "folder") return await openFolder(transport, address, signal);
  return await openHub(transport, { ...address, hubUrl, token }, signal);
}

function checkToken(token: string | null): string | null {
  const trimmed = token?.trim() ?? "";
  if (/^[\x21-\x7e]{0,1000}$/.test(trimmed)) return trimmed || null;
  throw new AccessError(
    "The token holds characters that no token has. Copy it again from the Hub's settings.",
  );
}

async function readFile(transport: Transport, session: Session, path: string, maxBytes: number) {
  const bytes = fileBytes(session.folder.opened, path);
  if (bytes > maxBytes) {
    throw new MalformedModelError(
      `${path} has ${formatBytes(bytes)}; more than ${formatBytes(maxBytes)} is not expected of it. It is damaged, or not what its name says.`,
    );
  }
  const content = await readDirectly(transport, session, { path, start: 0, end: bytes });
  const standIn = standInSentence(path, content);
  if (standIn !== null) throw new MalformedModelError(standIn);
  return content;
}

async function readDirectly(transport: Transport, session: Session, range: FileRange) {
  const { folder, end } = session;
  const bytes = fileBytes(folder.opened, range.path);
  invariant(range.start >= 0 && range.end <= bytes, `no such range of ${range.path}`);
  if (folder.kind === "remote") {
    const file = folder.files.get(range.path);
    invariant(file, `${range.path} is a file of the model`);
    return await fetchRange(transport, file, range, end.signal);
  }
  const file = folder.files.get(range.path);
  invariant(file, `${range.path} is a file of the model`);
  return await readDropped(range.path, file, range);
}

function fileBytes(opened: OpenedSource, path: string): number {
  const file = opened.files.find((candidate) => candidate.path === path);
  if (!file) throw new MalformedModelError(`There is no file ${path} in ${opened.label}.`);
  return file.bytes;
}
