// The server's end of what shares of a job tell each other: files in a folder that all of them see. A share also leaves a sign
// of life there, so that others can say who is missing instead of waiting for ever.

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Plugin } from "vite";
import { isSafePath } from "../../src/formats/safe-path.ts";
import type { AskedShare } from "./share-arguments.ts";

export const EXCHANGE_PATH = "/exchange/";
/** What a file is read and written in: its bytes are on their way from page to page, and pieces of a few KiB hold them up. */
const CHUNK_BYTES = 4 * 1024 ** 2;
/** How often a file is looked for: file systems that several machines see tell of no change. */
const LOOK_MS = 20;
/** A question is answered after so long at most, that the page may be asked to stop. */
const ANSWER_MS = 100;
const LIFE_MS = 1000;

export interface FileExchange extends AsyncDisposable {
  readonly plugin: Plugin;
  /** Bytes that this share gave to the others, and took from them. */
  readonly moved: { given: number; taken: number };
}

/** Opens the folder of an exchange and gives signs of life in it until disposed. */
export async function openFileExchange(share: AskedShare): Promise<FileExchange> {
  const moved = { given: 0, taken: 0 };
  const life = await giveSignsOfLife(share);
  const watch = watchOthers(share);
  const exchange = { share, moved, watch };
  return {
    moved,
    plugin: {
      name: "exchange-files",
      configurePreviewServer(server) {
        server.middlewares.use(EXCHANGE_PATH, (request, response) => {
          answer(exchange, request, response).catch((error: unknown) => {
            if (response.headersSent) response.destroy();
            else response.writeHead(507).end(error instanceof Error ? error.message : String(error));
          });
        });
      },
    },
    [Symbol.asyncDispose]: life,
  };
}

interface Exchange {
  readonly share: AskedShare;
  readonly moved: { given: number; taken: number };
  readonly watch: (from: number) => Promise<number>;
}

async function answer(exchange: Exchange, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://exchange");
  const name = decodeURIComponent(pathname.replace(/^\//, ""));
  if (!isSafePath(name)) {
    response.writeHead(400).end(`${name} is not the name of a file of an exchange.`);
    return;
  }
  const path = join(exchange.share.folder, name);
  if (request.method === "GET") {
    const wanted = { from: Number(searchParams.get("from")), what: searchParams.get("what") };
    await give(exchange, path, wanted, response);
    return;
  }
  if (request.method === "HEAD") {
    response.writeHead((await bytesOf(path)) === null ? 404 : 200).end();
    return;
  }
  if (request.method === "PUT") await put(exchange, path, request);
  else if (request.method === "DELETE") await rm(path, { force: true });
  response.writeHead(204).end();
}

/** Under another name first: a share that is killed leaves no half of a file. */
async function put({ share, moved }: Exchange, path: string, request: IncomingMessage): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.draft-${share.index + 1}`;
  try {
    await pipeline(request, createWriteStream(draft, { highWaterMark: CHUNK_BYTES }));
    moved.given += (await stat(draft)).size;
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

async function give(
  { share, moved, watch }: Exchange,
  path: string,
  wanted: { readonly from: number; readonly what: string | null },
  response: ServerResponse,
): Promise<void> {
  const end = performance.now() + ANSWER_MS;
  do {
    const bytes = await bytesOf(path);
    if (bytes !== null) {
      moved.taken += bytes;
      response.writeHead(200, { "content-length": bytes, "content-type": "application/octet-stream" });
      await pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), response);
      return;
    }
    await delay(LOOK_MS);
  } while (performance.now() < end);
  const silent = await watch(wanted.from);
  if (silent < share.patienceSeconds) {
    response.writeHead(202).end();
    return;
  }
  response
    .writeHead(504)
    .end(
      `Share ${wanted.from + 1} of ${share.of} has given no sign of life for ${Math.round(silent)} s in ${share.folder}, and share ${share.index + 1} waits for ${wanted.what ?? "it"}. Start share ${wanted.from + 1} again with its command, then this one: both go on from what they have finished.`,
    );
}

async function bytesOf(path: string): Promise<number | null> {
  return await stat(path).then(
    ({ size }) => size,
    () => null,
  );
}

function signOf({ folder }: AskedShare, index: number): string {
  return join(folder, `alive-${index + 1}`);
}

/** Writes another number every second; the result ends that. */
async function giveSignsOfLife(share: AskedShare): Promise<() => Promise<void>> {
  await mkdir(share.folder, { recursive: true });
  const path = signOf(share, share.index);
  let writing: Promise<void> | null = null;
  const write = () => {
    // A folder that cannot be written to is told of by what is written for the others.
    writing ??= writeFile(path, String(Date.now()))
      .catch(() => undefined)
      .finally(() => {
        writing = null;
      });
  };
  write();
  const timer = setInterval(write, LIFE_MS);
  return async () => {
    clearInterval(timer);
    await writing;
  };
}

/** Tells for how many seconds a share has been silent, by this machine's clock: those of two machines may differ. */
function watchOthers(share: AskedShare): (from: number) => Promise<number> {
  const seen = new Map<number, { sign: string | null; since: number }>();
  return async (from) => {
    const sign = await readFile(signOf(share, from), "utf8").catch(() => null);
    const now = performance.now();
    const before = seen.get(from);
    if (!before || before.sign !== sign) seen.set(from, { sign, since: now });
    return before && before.sign === sign ? (now - before.since) / 1000 : 0;
  };
}
