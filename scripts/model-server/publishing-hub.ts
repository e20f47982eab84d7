// The part of the Hub that publishing takes, on two origins: `hub` answers as huggingface.co does to who one is, to making
// repositories, to preupload, LFS batch and commit, and to signing in; `storage` is where it sends large files. Shapes are those
// that @huggingface/hub sends and reads (src/types/api, src/lib/commit.ts). What is sent is checked as the Hub checks it, and
// each request is in the log.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { answerStorage } from "./publishing-storage.ts";
import { hubRoute } from "./publishing-routes.ts";
import type { HubReply, HubState } from "./publishing-state.ts";

export interface PublishFault {
  readonly origin?: "hub" | "storage";
  /** Applies to paths that contain this text. */
  readonly path: string;
  /** Requests that match and still pass before. */
  skip?: number;
  times: number;
  /** "cut" breaks the connection in the middle of the body, "silence" never answers; else the Hub's answer. */
  readonly answer: "cut" | "silence" | { readonly status: number; readonly error: string };
}

export interface PublishLog {
  readonly origin: "hub" | "storage";
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly authorization: string | null;
  readonly referer: string | null;
  /** All headers and, unless it is a large file, the body, as text. */
  readonly text: string;
  status: number;
}

export interface PublishingHub {
  readonly url: string;
  readonly storageUrl: string;
  readonly state: HubState;
  readonly faults: PublishFault[];
  readonly log: PublishLog[];
  readonly close: () => Promise<void>;
}

export interface PublishingOptions {
  readonly accounts: HubState["accounts"];
  readonly partBytes?: number;
  readonly transfer?: HubState["transfer"];
}

/** More of a body than this is not kept in the log. */
const LOGGED_BYTES = 2_000_000;

/** Starts both origins on free ports of 127.0.0.1. */
export async function startPublishingHub(options: PublishingOptions): Promise<PublishingHub> {
  const state: HubState = {
    urls: { hub: "", storage: "" },
    accounts: options.accounts,
    repositories: new Map(),
    objects: new Map(),
    parts: new Map(),
    partBytes: options.partBytes ?? 5_000_000_000,
    transfer: options.transfer ?? "lfs",
    storedBytes: 0,
  };
  const faults: PublishFault[] = [];
  const log: PublishLog[] = [];
  const servers = await Promise.all(
    (["hub", "storage"] as const).map(async (origin) => {
      const server = createServer((request, response) => {
        void respond({ origin, request, state, faults, log }).then(
          (reply) => {
            if (reply === "cut") response.destroy();
            else if (reply !== "silence")
              response.writeHead(reply.status, { ...cors(request), ...reply.headers }).end(reply.body);
          },
          (error: unknown) => response.destroy(error instanceof Error ? error : new Error(String(error))),
        );
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      state.urls[origin] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      return server;
    }),
  );
  const close = async () => void (await Promise.all(servers.map(closeServer)));
  return { url: state.urls.hub, storageUrl: state.urls.storage, state, faults, log, close };
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

function cors(request: IncomingMessage): Record<string, string> {
  return {
    "access-control-allow-origin": request.headers.origin ?? "*",
    "access-control-allow-methods": "GET, POST, PUT",
    "access-control-allow-headers": "authorization, content-type, x-request-id, x-xet-session-id",
    "access-control-expose-headers": "ETag, Link, X-Request-Id, X-Error-Code, X-Error-Message",
  };
}

interface Arrival {
  readonly origin: "hub" | "storage";
  readonly request: IncomingMessage;
  readonly state: HubState;
  readonly faults: PublishFault[];
  readonly log: PublishLog[];
}

async function respond({
  origin,
  request,
  state,
  faults,
  log,
}: Arrival): Promise<HubReply | "cut" | "silence"> {
  if (request.method === "OPTIONS") return { status: 204, headers: {}, body: "" };
  const url = new URL(request.url ?? "/", state.urls[origin]);
  const fault = takeFault(faults, origin, url.pathname);
  if (fault?.answer === "cut") {
    await once(request, "data").catch(() => undefined);
    return "cut";
  }
  if (fault?.answer === "silence") return "silence";
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  const body = Buffer.concat(pieces);
  const entry: PublishLog = {
    origin,
    method: request.method ?? "",
    path: url.pathname + url.search,
    authorization: request.headers.authorization ?? null,
    referer: request.headers.referer ?? null,
    text: `${JSON.stringify(request.headers)}${body.byteLength <= LOGGED_BYTES ? body.toString("latin1") : ""}`,
    status: 0,
  };
  log.push(entry);
  const reply = fault
    ? json(fault.answer.status, { error: fault.answer.error })
    : origin === "hub"
      ? hubRoute(state, { method: entry.method, url, authorization: entry.authorization, body })
      : answerStorage(state, { method: entry.method, url, authorization: entry.authorization, body });
  entry.status = reply.status;
  return reply;
}

function takeFault(
  faults: readonly PublishFault[],
  origin: "hub" | "storage",
  path: string,
): PublishFault | null {
  for (const fault of faults) {
    if ((fault.origin !== undefined && fault.origin !== origin) || !path.includes(fault.path)) continue;
    if (fault.skip) fault.skip--;
    else if (fault.times > 0) {
      fault.times--;
      return fault;
    }
  }
  return null;
}

function json(status: number, body: unknown): HubReply {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** A commit that somebody else makes meanwhile. */
export function commitMeanwhile(hub: PublishingHub, repository: string): void {
  const found = hub.state.repositories.get(repository);
  if (found) found.head = createHash("sha1").update(`${found.head} and more`).digest("hex");
}
