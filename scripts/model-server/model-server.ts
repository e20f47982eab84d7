// A model server for tests and benchmarks: three origins on localhost. `hub` answers as huggingface.co does, `cdn` is
// where its redirects lead, `files` serves the same models as plain folders with CORS, ranges and ETags. Faults are
// injected by rule, and every request is in the log.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type Fault, type FaultRule, takeFault, type Origin } from "./faults.ts";
import { commitOf, hubResponse } from "./hub-api.ts";
import type { ServedFile, ModelServerOptions } from "./served-model.ts";

export interface LoggedRequest {
  readonly origin: Origin;
  readonly method: string;
  readonly path: string;
  readonly range: string | null;
  readonly authorization: string | null;
  readonly referer: string | null;
  status: number;
  /** Bytes of the body that were handed to the socket. */
  bytes: number;
}

export interface ModelServer {
  readonly hubUrl: string;
  readonly cdnUrl: string;
  readonly filesUrl: string;
  /** Rules are tried in order; a rule that is used up does nothing. */
  readonly faults: FaultRule[];
  readonly log: LoggedRequest[];
  /** Pinned commit that the Hub names for a model. */
  commit(repository: string): string;
  readonly close: () => Promise<void>;
}

const HUB_EXPOSED =
  "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash";
const FILES_EXPOSED = "ETag, Content-Range, Accept-Ranges";
/** Files up to this size lie in git on the Hub and are served by itself; larger ones by the CDN. */
const GIT_FILE_BYTES = 100_000;
const SIGNATURE = "signature=of-this-test";

/** Starts the three origins on free ports of 127.0.0.1. */
export async function startModelServer(options: ModelServerOptions): Promise<ModelServer> {
  const faults: FaultRule[] = [];
  const log: LoggedRequest[] = [];
  const urls = { hub: "", cdn: "", files: "" };
  const context: Context = { options, urls, faults };
  const servers = await Promise.all(
    (["hub", "cdn", "files"] as const).map(async (origin) => {
      const server = createServer((request, response) => {
        const entry = logEntry(origin, request);
        log.push(entry);
        response.once("close", () => {
          entry.status = response.statusCode;
        });
        void handle(context, { origin, request, response, entry }).catch((error: unknown) => {
          response.destroy(error instanceof Error ? error : new Error(String(error)));
        });
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      urls[origin] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      return server;
    }),
  );
  return {
    hubUrl: urls.hub,
    cdnUrl: urls.cdn,
    filesUrl: urls.files,
    faults,
    log,
    commit: commitOf,
    close: async () => {
      await Promise.all(servers.map(closeServer));
    },
  };
}

interface Context {
  readonly options: ModelServerOptions;
  readonly urls: Record<Origin, string>;
  readonly faults: FaultRule[];
}

interface Exchange {
  readonly origin: Origin;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly entry: LoggedRequest;
}

function logEntry(origin: Origin, request: IncomingMessage): LoggedRequest {
  return {
    origin,
    method: request.method ?? "",
    path: decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname),
    range: request.headers.range ?? null,
    authorization: request.headers.authorization ?? null,
    referer: request.headers.referer ?? null,
    status: 0,
    bytes: 0,
  };
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

async function handle(context: Context, exchange: Exchange): Promise<void> {
  const { origin, request, response, entry } = exchange;
  const fault = takeFault(context.faults, origin, entry.path);
  for (const [name, value] of corsHeaders(origin, request, fault)) response.setHeader(name, value);
  if (fault?.kind === "slow-headers") await delay(fault.afterMs);
  if (request.method === "OPTIONS") {
    // The Hub and plain servers let scripts send what they like; the CDN refuses preflights, as the real one did.
    response.writeHead(origin === "cdn" ? 403 : 204).end();
  } else if (fault?.kind === "status") {
    response.writeHead(fault.status, fault.headers ?? {}).end(`Injected ${fault.status}`);
  } else if (fault?.kind === "redirect-circle") {
    response.writeHead(302, { location: request.url }).end();
  } else if (fault?.kind === "reset" && fault.afterBytes === 0) {
    response.destroy();
  } else if (origin === "hub") {
    await handleHub(context, exchange, fault);
  } else {
    await handleFile(context, exchange, fault);
  }
}

function corsHeaders(origin: Origin, request: IncomingMessage, fault: Fault | null): [string, string][] {
  if (fault?.kind === "no-cors") return [];
  const caller = request.headers.origin ?? "*";
  const allowed: [string, string] = ["access-control-allow-origin", origin === "hub" ? caller : "*"];
  if (origin === "cdn")
    return request.method === "OPTIONS" ? [] : [allowed, ["access-control-expose-headers", "*"]];
  const exposed = origin === "hub" ? HUB_EXPOSED : FILES_EXPOSED;
  return [
    allowed,
    ["access-control-allow-headers", "authorization, range"],
    ["access-control-max-age", "86400"],
    ...(fault?.kind === "unexposed"
      ? []
      : [["access-control-expose-headers", exposed] satisfies [string, string]]),
  ];
}

async function handleHub(context: Context, exchange: Exchange, fault: Fault | null): Promise<void> {
  const { request, response, entry } = exchange;
  const url = new URL(request.url ?? "/", context.urls.hub);
  const answer = hubResponse(context.options, url, request.headers.authorization ?? null);
  if (answer.kind === "json") {
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
    response.end(JSON.stringify(answer.body));
    return;
  }
  const { repository, path, file } = answer;
  response.setHeader("x-repo-commit", commitOf(repository));
  if (answer.kind === "cached") {
    await sendFile(exchange, file, fault);
  } else if (file.bytes <= GIT_FILE_BYTES) {
    const location = `/api/resolve-cache/models/${repository}/${commitOf(repository)}/${encodePath(path)}`;
    response.writeHead(307, { location }).end();
  } else {
    const headers = {
      location: signedUrl(context, entry, repository, path),
      "x-linked-size": file.bytes,
      "x-linked-etag": file.etag,
      "cache-control": "no-store",
    };
    response.writeHead(302, headers).end();
  }
}

async function handleFile(context: Context, exchange: Exchange, fault: Fault | null): Promise<void> {
  const { origin, request, response, entry } = exchange;
  const [owner = "", name = "", ...rest] = entry.path.slice(1).split("/");
  const model = context.options.models[`${owner}/${name}`];
  const file = model?.files.get(rest.join("/"));
  if (origin === "cdn" && !request.url?.includes(SIGNATURE)) {
    response.writeHead(403).end("The signature is missing or has expired");
  } else if (!model || !file) {
    response.writeHead(404).end("Not found");
  } else if (origin === "files" && model.redirect) {
    response
      .writeHead(302, { location: signedUrl(context, entry, `${owner}/${name}`, rest.join("/")) })
      .end();
  } else {
    await sendFile(exchange, file, fault);
  }
}

function signedUrl(context: Context, entry: LoggedRequest, repository: string, path: string): string {
  return `${context.urls.cdn}/${repository}/${encodePath(path)}?${SIGNATURE}&method=${entry.method}`;
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The single range of a Range header, cut at the file's end; null for none, "unsatisfiable" beyond the end. */
function parseRange(header: string | undefined, bytes: number): Span | "unsatisfiable" | null {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  if (!match) return null;
  const start = Number(match[1]);
  const end = Math.min(match[2] ? Number(match[2]) + 1 : bytes, bytes);
  return start < end ? { start, end } : "unsatisfiable";
}

async function sendFile(exchange: Exchange, file: ServedFile, fault: Fault | null): Promise<void> {
  const { request, response, entry } = exchange;
  const ranged = fault?.kind === "ignore-range" ? null : parseRange(request.headers.range, file.bytes);
  response.setHeader("accept-ranges", "bytes");
  response.setHeader("content-type", "application/octet-stream");
  const bare = fault?.kind === "bare";
  if (!bare) response.setHeader("etag", fault?.kind === "etag" ? fault.etag : file.etag);
  if (ranged === "unsatisfiable") {
    response.writeHead(416, { "content-range": `bytes */${file.bytes}` }).end();
    return;
  }
  const { start, end } = ranged ?? { start: 0, end: file.bytes };
  const sent = fault?.kind === "short" ? Math.min(fault.bytes, end - start) : end - start;
  const shift = fault?.kind === "wrong-range" ? 1 : 0;
  const total = file.bytes + (fault?.kind === "length" ? fault.more : 0);
  const contentRange = `bytes ${start + shift}-${end - 1 + shift}/${total}`;
  if (ranged && !bare) response.setHeader("content-range", contentRange);
  if (fault?.kind === "gzip" && ranged) response.setHeader("content-encoding", "gzip");
  if (fault?.kind === "html" && request.method !== "HEAD") {
    response
      .writeHead(ranged ? 206 : 200, { "content-type": "text/html" })
      .end("<html>Please sign in</html>");
    return;
  }
  response.writeHead(ranged ? 206 : 200, { "content-length": sent });
  if (request.method === "HEAD") response.end();
  else await sendBody(response, file.read(start, start + sent), fault, entry);
}

async function sendBody(
  response: ServerResponse,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  fault: Fault | null,
  entry: LoggedRequest,
): Promise<void> {
  const limit = fault?.kind === "reset" || fault?.kind === "stall" ? fault.afterBytes : Infinity;
  if (fault?.kind === "drip") {
    await drip(response, fault.everyMs);
    return;
  }
  for await (const whole of pieces) {
    const piece = whole.subarray(0, limit - entry.bytes);
    entry.bytes += piece.byteLength;
    if (!response.write(piece) && !response.destroyed) await drained(response);
    if (response.destroyed) return;
    if (entry.bytes >= limit) {
      if (fault?.kind === "reset") response.destroy();
      return;
    }
  }
  response.end();
}

/** Sends zeros, one at a time, until the connection is given up. */
async function drip(response: ServerResponse, everyMs: number): Promise<void> {
  const timer = setInterval(() => response.write(new Uint8Array(1)), everyMs);
  await once(response, "close");
  clearInterval(timer);
}

/** Waits until the socket takes more, or is gone. */
async function drained(response: ServerResponse): Promise<void> {
  const done = new AbortController();
  const events = ["drain", "close"].map(async (event) => await once(response, event, done));
  await Promise.race(events);
  done.abort();
}
