// The server's end of what the page sends: files of a result, written straight into the folder that was asked for.

import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Plugin } from "vite";
import { isSafePath } from "../../src/formats/safe-path.ts";

export const RECEIVING_PATH = "/receive/";

/** Takes POST /receive/PATH into `folder`; names that lead out of it are refused. */
export function receiveFiles(folder: string): Plugin {
  return {
    name: "receive-files",
    configurePreviewServer(server) {
      server.middlewares.use(RECEIVING_PATH, (request, response) => void receive(folder, request, response));
    },
  };
}

async function receive(folder: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = decodeURIComponent((request.url ?? "").replace(/^\//, ""));
  if (request.method !== "POST" || !isSafePath(path)) {
    response.writeHead(400).end(`${path} is not the name of a file to write.`);
    return;
  }
  try {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    await pipeline(request, createWriteStream(target));
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(507).end(error instanceof Error ? error.message : String(error));
  }
}
