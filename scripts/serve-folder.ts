// A folder below a path, as any static host serves it.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

export interface ServedFolder extends AsyncDisposable {
  /** Ends in "/". */
  readonly url: string;
  /** Paths that were asked for and are not there, or lie outside. */
  readonly missing: string[];
  /** Paths that were asked for. */
  readonly asked: string[];
  /** True breaks every connection, as a network does that is gone. */
  gone: boolean;
  /** Changes what is sent, by path in the folder. */
  change: (path: string, content: Buffer) => Buffer;
}

/** @param below begins and ends with "/" */
export async function serveFolder(folder: string, below: string): Promise<ServedFolder> {
  const server = createServer((request, response) => {
    void (async () => {
      if (served.gone) {
        response.destroy();
        return;
      }
      const { pathname } = new URL(request.url ?? "/", "http://localhost");
      served.asked.push(pathname);
      const path = pathname.startsWith(below) ? pathname.slice(below.length) || "index.html" : null;
      const content = path === null ? null : await readFile(join(folder, path)).catch(() => null);
      if (path === null || content === null) {
        served.missing.push(pathname);
        response.writeHead(404).end();
        return;
      }
      send(served.change(path, content), TYPES[extname(path)], request.headers.range);
    })();
    function send(content: Buffer, type = "application/octet-stream", range: string | undefined): void {
      const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
      const headers = { "content-type": type, "accept-ranges": "bytes" };
      if (first === undefined) {
        response.writeHead(200, headers).end(content);
        return;
      }
      const end = Math.min(last ? Number(last) + 1 : content.byteLength, content.byteLength);
      const span = { "content-range": `bytes ${first}-${end - 1}/${content.byteLength}` };
      response.writeHead(206, { ...headers, ...span }).end(content.subarray(Number(first), end));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const served: ServedFolder = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${below}`,
    missing: [],
    asked: [],
    gone: false,
    change: (_, content) => content,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return served;
}
