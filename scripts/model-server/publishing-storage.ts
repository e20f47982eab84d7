// The storage that the Hub sends large files to: signed addresses, whole or in parts, or Xet's xorbs and shards. It never sees a
// token of the Hub's, and refuses requests that bring one.

import { createHash } from "node:crypto";
import type { HubReply, HubRequest, HubState } from "./publishing-state.ts";

export const SIGNATURE = "signature=of-this-test";
export const XET_TOKEN = "xet-token-of-this-test";

/** PUT /lfs/OID, PUT /lfs/OID/PART, POST /v1/xorbs/default/HASH, POST /v1/shards. */
export function answerStorage(state: HubState, { method, url, authorization, body }: HubRequest): HubReply {
  const parts = url.pathname.slice(1).split("/");
  state.storedBytes += body.byteLength;
  if (parts[0] === "v1") {
    if (authorization !== `Bearer ${XET_TOKEN}`) return plain(401, "No access token of the storage's");
    // Chunks that are known already are asked for; here none are.
    if (method === "GET") return plain(404, "Not found");
    if (parts[1] === "xorbs") state.objects.set(`xorb ${parts[3]}`, body);
    return { status: 200, headers: { "content-type": "application/json" }, body: '{"was_inserted":true}' };
  }
  const [kind, oid = "", part] = parts;
  if (method !== "PUT" || kind !== "lfs") return plain(404, "Not found");
  if (authorization !== null) return plain(400, "Only one auth mechanism allowed");
  if (!url.search.includes(SIGNATURE)) return plain(403, "The signature is missing");
  const etag = `"${createHash("md5").update(body).digest("hex")}"`;
  if (part !== undefined) {
    const known = state.parts.get(oid) ?? new Map<number, Buffer>();
    state.parts.set(oid, known.set(Number(part), body));
    return { status: 200, headers: { etag }, body: "" };
  }
  if (digest(body) !== oid) return plain(400, "XAmzContentSHA256Mismatch");
  state.objects.set(oid, body);
  return { status: 200, headers: { etag }, body: "" };
}

function plain(status: number, body: string): HubReply {
  return { status, headers: { "content-type": "text/plain" }, body };
}

export function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
