// The server's end of what shares of a job tell each other: files in a folder that all of them see. A share also leaves a sign
// of life there, so that others can say who is missing instead of waiting for ever.

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Plugin } from "vite";
import {
  isWindowMark,
  readSlotPart,
  SLOT_BYTES,
  type SlotPart,
} from "../../../src/formats/files/exchange-window.ts";
import { isSafePath } from "../../../src/formats/files/safe-path.ts";
import { makeFolders, removeEmptyFolders } from "../make-folders.ts";
import { findWindow, type WindowFile } from "./exchange-window.ts";
import type { AskedShare } from "../arguments/share-arguments.ts";
import { giveSignsOfLife, signOf, type Silence, watchOthers } from "./signs-of-life.ts";
import { openSpareFiles, type SpareFiles } from "./spare-files.ts";
import { endedBy, undoneBy } from "../../../src/ended-by.ts";

export const EXCHANGE_PATH = "/exchange/";
/** What a file is read and written in: its bytes are on their way from page to page, and pieces of a few KiB hold them up. */
const CHUNK_BYTES = 4 * 1024 ** 2;
/** How often a file is looked for: file systems that several machines see tell of no change. Each layer waits some times. */
const LOOK_MS = 4;
/** Pieces of a sum follow one another within some milliseconds. */
const FIRST_LOOKS = { count: 8, milliseconds: 1 } as const;
/** A question is answered after so long at most, that the page may be asked to stop. */
const ANSWER_MS = 100;

export interface FileExchange extends AsyncDisposable {
  readonly plugin: Plugin;
  readonly moved: MovedBytes;
}

/** Bytes that a share gave to the others, and took from them. */
export interface MovedBytes {
  given: number;
  taken: number;
  /** True if they went through a window to the page, not in bodies of requests. */
  window: boolean;
}

/**
 * Opens the folder of an exchange and gives signs of life in it until disposed. A share that gave nothing until then leaves none there,
 * and no folder that was made for it and is empty.
 * @param profile where the browser keeps what its page stores
 */
export async function openFileExchange(share: AskedShare, profile: string): Promise<FileExchange> {
  const moved: MovedBytes = { given: 0, taken: 0, window: false };
  const made = await makeFolders(share.folder);
  let job = "";
  const life = giveSignsOfLife(share, () => job);
  const leave = async () => {
    await life();
    if (moved.given > 0) return;
    await rm(signOf(share, share.index), { force: true });
    if (made !== undefined) await removeEmptyFolders(share.folder, made);
  };
  const watch = watchOthers(share, () => job);
  // Nobody else could end the signs of life, and take away what was made for them.
  const spare = await undoneBy(
    async () => await openSpareFiles(share.folder, `spare-${share.index + 1}-`),
    leave,
  );
  const named = (path: string) => {
    job = path.split("/", 1)[0] ?? "";
  };
  const exchange: Exchange = { share, profile, moved, watch, spare, named, window: null };
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
    async [Symbol.asyncDispose]() {
      await endedBy(
        async () => await spare[Symbol.asyncDispose](),
        async () => await exchange.window?.[Symbol.asyncDispose](),
        leave,
      );
    },
  };
}

interface Exchange {
  readonly share: AskedShare;
  readonly profile: string;
  /** Null until the page tells of one that is found. */
  window: WindowFile | null;
  readonly moved: MovedBytes;
  readonly watch: (from: number) => Promise<Silence>;
  readonly spare: SpareFiles;
  /** Takes the name of a file for that of the job: its files lie in a folder of their own. */
  readonly named: (path: string) => void;
}

async function answer(exchange: Exchange, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://exchange");
  const name = decodeURIComponent(pathname.replace(/^\//, ""));
  const mark = searchParams.get("window");
  if (mark !== null) {
    response.writeHead((await openWindow(exchange, mark)) ? 204 : 404).end();
    return;
  }
  if (request.method === "DELETE") {
    for (const dropped of JSON.parse(await text(request)) as string[])
      if (isSafePath(dropped)) await exchange.spare.keep(join(exchange.share.folder, dropped));
    response.writeHead(204).end();
    return;
  }
  if (!isSafePath(name)) {
    response.writeHead(400).end(`${name} is not the name of a file of an exchange.`);
    return;
  }
  exchange.named(name);
  const path = join(exchange.share.folder, name);
  if (request.method === "GET") {
    const wanted = { from: Number(searchParams.get("from")), what: searchParams.get("what") };
    await give(exchange, { path, wanted, part: readSlotPart(searchParams) }, response);
    return;
  }
  if (request.method === "HEAD") {
    response.writeHead((await bytesOf(path)) === null ? 404 : 200).end();
    return;
  }
  const part = readSlotPart(searchParams);
  if (request.method === "PUT" && part) await putPart(exchange, path, part);
  else if (request.method === "PUT") await put(exchange, path, request);
  response.writeHead(204).end();
}

/** Looks for the window that the page tells of; a page that begins anew has another one. */
async function openWindow(exchange: Exchange, mark: string): Promise<boolean> {
  const found = isWindowMark(mark) ? await findWindow(exchange.profile, mark) : null;
  if (!found) return false;
  await exchange.window?.[Symbol.asyncDispose]();
  exchange.window = found;
  exchange.moved.window = true;
  return true;
}

function openedWindow({ window }: Exchange): WindowFile {
  if (window) return window;
  throw new Error(
    "The page gives bytes through a window that this command has not found. Give the same command again.",
  );
}

function draftOf({ share }: Exchange, path: string): string {
  return `${path}.draft-${share.index + 1}`;
}

/** Takes a part of a file through the window; the file is there with its last one. */
async function putPart(exchange: Exchange, path: string, part: SlotPart): Promise<void> {
  const { at, bytes, of } = part;
  const draft = draftOf(exchange, path);
  const take = async () => {
    if (at === 0) await mkdir(dirname(path), { recursive: true });
    await using file = at === 0 ? await exchange.spare.open(draft, of) : await open(draft, "r+");
    await openedWindow(exchange).give(part, file);
  };
  await undoneBy(take, async () => await rm(draft, { force: true }));
  if (at + bytes < of) return;
  exchange.moved.given += of;
  await rename(draft, path);
}

/** Under another name first: a share that is killed leaves no half of a file. */
async function put(exchange: Exchange, path: string, request: IncomingMessage): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = draftOf(exchange, path);
  const take = async () => {
    await pipeline(request, createWriteStream(draft, { highWaterMark: CHUNK_BYTES }));
    exchange.moved.given += (await stat(draft)).size;
    await rename(draft, path);
  };
  await undoneBy(take, async () => await rm(draft, { force: true }));
}

async function give(
  exchange: Exchange,
  {
    path,
    wanted,
    part,
  }: {
    readonly path: string;
    readonly wanted: { readonly from: number; readonly what: string | null };
    /** Null where the bytes go in the answer. */
    readonly part: SlotPart | null;
  },
  response: ServerResponse,
): Promise<void> {
  const { share, moved, watch } = exchange;
  const end = performance.now() + ANSWER_MS;
  let looks = 0;
  do {
    const bytes = await bytesOf(path);
    if (bytes !== null) {
      if (part) {
        await givePart(exchange, path, { ...part, bytes: part.bytes || Math.min(SLOT_BYTES, bytes) });
        moved.taken += part.at === 0 ? bytes : 0;
        response.writeHead(200, { "content-type": "text/plain" }).end(String(bytes));
        return;
      }
      moved.taken += bytes;
      response.writeHead(200, { "content-length": bytes, "content-type": "application/octet-stream" });
      await pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), response);
      return;
    }
    await delay(looks++ < FIRST_LOOKS.count ? FIRST_LOOKS.milliseconds : LOOK_MS);
  } while (performance.now() < end);
  const silence = await watch(wanted.from);
  if (silence.seconds < share.patienceSeconds) response.writeHead(202).end();
  else response.writeHead(504).end(missing(share, wanted, silence));
}

/** Why what is waited for does not come, as a sentence. */
function missing(
  { index, of, folder }: AskedShare,
  { from, what }: { readonly from: number; readonly what: string | null },
  { seconds, elsewhere }: Silence,
): string {
  const waits = `share ${index + 1} waits for ${what ?? "it"}`;
  return elsewhere
    ? `Share ${from + 1} of ${of} is at work on another job in ${folder}, and ${waits}. The source, the recipe, the text, another option or the build of Layerpress is not the same: end both, and give all shares one command, but for --share and --out.`
    : `Share ${from + 1} of ${of} has given no sign of life for ${Math.round(seconds)} s in ${folder}, and ${waits}. Start share ${from + 1} again with its command, then this one: both go on from what they have finished.`;
}

async function givePart(exchange: Exchange, path: string, part: SlotPart): Promise<void> {
  await using file = await open(path, "r");
  await openedWindow(exchange).take(part, file);
}

async function bytesOf(path: string): Promise<number | null> {
  return await stat(path).then(
    ({ size }) => size,
    () => null,
  );
}
