// The server's end of what the page sends: files of a result, written straight into the folder that was asked for.

import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, unlink } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Plugin } from "vite";
import { isSafePath } from "../../../src/formats/files/safe-path.ts";
import { systemFailure } from "../system-failure.ts";

export const RECEIVING_PATH = "/receive/";
/** Bytes that may wait for the disk: a network hands over small pieces, which are written many at a time. */
const BUFFER_BYTES = 8 * 1024 ** 2;

/** What a folder was sent: SHA-256 in hexadecimal digits of each file, by its path. */
export type ReceivedFiles = Map<string, string>;

/**
 * Takes POST /receive/PATH into `folder`; names that lead out of it are refused, and so are other sites' pages.
 * @param received is told of each file
 */
export function receiveFiles(folder: string, received: ReceivedFiles): Plugin {
  return {
    name: "receive-files",
    configurePreviewServer(server) {
      server.middlewares.use(
        RECEIVING_PATH,
        (request, response) => void receive({ folder, received }, request, response),
      );
    },
  };
}

/** Answers one request; never fails. */
export async function receive(
  { folder, received }: { readonly folder: string; readonly received: ReceivedFiles },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!isOwnPage(request)) {
    response.writeHead(403).end("Files are taken from this command's own page alone.");
    return;
  }
  const path = pathOf(request);
  if (request.method !== "POST" || path === null || !isSafePath(path)) {
    response.writeHead(400).end(`${path ?? request.url} is not the name of a file to write.`);
    return;
  }
  try {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    // What is there may be a second name of a file that is stored.
    await unlink(target).catch(() => undefined);
    const hash = createHash("sha256");
    const hashing = new Transform({
      transform(bytes: Buffer, _, done) {
        hash.update(bytes);
        done(null, bytes);
      },
    });
    await pipeline(request, hashing, createWriteStream(target, { highWaterMark: BUFFER_BYTES }));
    received.set(path, hash.digest("hex"));
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(507).end(systemFailure(error).message);
  }
}

/**
 * Any site can have its visitors' browser post to a port of theirs. A page says whose it is by its origin: the host that is asked, which
 * is a name of this machine and none that a stranger has lead here.
 */
function isOwnPage({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined || !URL.canParse(origin)) return false;
  const page = new URL(origin);
  return page.host === host && /^(.+\.)?localhost$|^127\.0\.0\.1$/.test(page.hostname);
}

function pathOf({ url = "" }: IncomingMessage): string | null {
  try {
    return decodeURIComponent(url.replace(/^\//, ""));
  } catch {
    return null;
  }
}
