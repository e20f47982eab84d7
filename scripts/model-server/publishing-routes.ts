import { createHash } from "node:crypto";
import {
  type HubReply,
  type HubRepository,
  type HubRequest,
  type HubState,
  REGULAR_BYTES,
} from "./publishing-state.ts";
import { loginRoute } from "./publishing-login.ts";
import { digest, SIGNATURE, XET_TOKEN } from "./publishing-storage.ts";

type Account = HubState["accounts"][string];

/** Answers as the Hub does; errors carry its own words. */
export function hubRoute(state: HubState, request: HubRequest): HubReply {
  const { url, method, authorization } = request;
  const login = loginRoute(state, request);
  if (login) return login;
  // Signed, as the storage's addresses are: nobody is asked for a token.
  if (url.pathname === "/complete") return complete(state, url.searchParams.get("oid") ?? "", request.body);
  const account = state.accounts[authorization?.replace(/^Bearer /, "") ?? ""];
  if (authorization !== null && !account) return refusal(401, "Invalid credentials in Authorization header");
  if (!account) return refusal(401, "Invalid username or password.");
  if (url.pathname === "/api/whoami-v2") return json(whoAmI(account));
  if (url.pathname === "/api/repos/create") return create(state, account, request.body);
  const [, owner = "", name = "", verb = ""] =
    /^\/(?:api\/models\/)?([^/]+)\/([^/]+?)(?:\.git)?\/(preupload|commit|revision|tree|info)\/?(.*)$/.exec(
      decodeURIComponent(url.pathname),
    ) ?? [];
  const repository = state.repositories.get(`${owner}/${name}`);
  if (!repository) return refusal(404, "Repository not found");
  if (method === "GET" && verb === "revision") return json(modelInfo(`${owner}/${name}`, repository));
  if (method === "GET" && verb === "tree") return json(tree(repository));
  if (!mayWrite(account, owner))
    return refusal(403, "You don't have the required permissions to perform this action");
  if (verb === "preupload") return preupload(request.body);
  if (verb === "info") return batch(state, `${owner}/${name}`, request.body);
  return verb === "commit" ? commit(state, repository, request.body) : refusal(404, "Not found");
}

function json(body: unknown): HubReply {
  return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

function refusal(status: number, error: string): HubReply {
  return { ...json({ error }), status };
}

function whoAmI({ name, orgs }: Account) {
  return {
    type: "user",
    id: "1",
    name,
    fullname: name,
    orgs: orgs.map((org) => ({ type: "org", id: org, name: org, fullname: org })),
    auth: { type: "access_token", accessToken: { displayName: "test", role: "write" } },
  };
}

function mayWrite({ name, orgs }: Account, owner: string): boolean {
  return owner === name || orgs.includes(owner);
}

function create(state: HubState, account: Account, body: Buffer): HubReply {
  const { name, organization, type, visibility } = JSON.parse(body.toString()) as Record<string, string>;
  const id = `${organization}/${name}`;
  if (type !== "model") return refusal(400, "Only models are made here");
  if (!mayWrite(account, organization ?? ""))
    return refusal(403, `You don't have the rights to create a model under the namespace "${organization}"`);
  if (state.repositories.has(id)) return refusal(409, "You already created this model repo");
  const files = new Map([[".gitattributes", Buffer.from("*.safetensors filter=lfs\n")]]);
  state.repositories.set(id, { private: visibility === "private", head: commitOf(id), files });
  return json({ url: `${state.urls.hub}/${id}`, id, name: id });
}

function commitOf(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

function modelInfo(id: string, { private: isPrivate, head }: HubRepository) {
  const when = "2026-01-01T00:00:00.000Z";
  return {
    _id: "1",
    id,
    private: isPrivate,
    gated: false,
    downloads: 0,
    likes: 0,
    lastModified: when,
    sha: head,
  };
}

function tree({ files }: HubRepository) {
  return Array.from(files, ([path, content]) => {
    const size = content.byteLength;
    const lfs = isLarge(path, size) && { oid: digest(content), size, pointerSize: 134 };
    const oid = createHash("sha1").update(`blob ${size}\0`).update(content).digest("hex");
    return { type: "file", oid, size, path, ...(lfs && { lfs }) };
  });
}

function isLarge(path: string, size: number): boolean {
  return size > REGULAR_BYTES || path.endsWith(".safetensors");
}

function preupload(body: Buffer): HubReply {
  const { files } = JSON.parse(body.toString()) as {
    files: { path: string; size: number; sample: string }[];
  };
  const modes = files.map(({ path, size }) => ({
    path,
    uploadMode: isLarge(path, size) ? "lfs" : "regular",
    shouldIgnore: false,
  }));
  return json({ files: modes });
}

interface BatchRequest {
  readonly transfers: readonly string[];
  readonly hash_algo: string;
  readonly objects: readonly { readonly oid: string; readonly size: number }[];
}

function batch(state: HubState, id: string, body: Buffer): HubReply {
  const { transfers, hash_algo, objects } = JSON.parse(body.toString()) as BatchRequest;
  if (hash_algo !== "sha_256") return refusal(400, "Unknown hash");
  const transfer = state.transfer === "xet" && transfers.includes("xet") ? "xet" : "basic";
  const answers = objects.map(({ oid, size }) =>
    state.objects.has(oid)
      ? { oid, size }
      : { oid, size, actions: { upload: uploadAction(state, id, oid, size) } },
  );
  return json({ transfer, objects: answers });
}

function uploadAction({ urls, partBytes, transfer }: HubState, id: string, oid: string, size: number) {
  if (transfer === "xet") {
    const header = {
      "X-Xet-Cas-Url": urls.storage,
      "X-Xet-Access-Token": XET_TOKEN,
      "X-Xet-Token-Expiration": String(Math.floor(Date.now() / 1000) + 3600),
      "X-Xet-Session-Id": "session",
    };
    return { href: `${urls.hub}/api/models/${id}/xet-write-token/main`, header };
  }
  const whole = `${urls.storage}/lfs/${oid}`;
  if (size <= partBytes) return { href: `${whole}?${SIGNATURE}` };
  const parts = Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => [
    String(index + 1).padStart(5, "0"),
    `${whole}/${index + 1}?${SIGNATURE}`,
  ]);
  // The Hub's own address, signed: the library sends no token there.
  const href = `${urls.hub}/complete?${SIGNATURE}&oid=${oid}`;
  return { href, header: { chunk_size: String(partBytes), ...Object.fromEntries(parts) } };
}

/** Joins parts; their ETags have to be those that the storage gave. */
function complete(state: HubState, oid: string, body: Buffer): HubReply {
  const { parts } = JSON.parse(body.toString()) as { parts: { partNumber: number; etag: string }[] };
  const known = state.parts.get(oid);
  const pieces = parts.map(({ partNumber, etag }) => {
    const piece = known?.get(partNumber);
    const md5 = piece && createHash("md5").update(piece).digest("hex");
    return piece && etag === `"${md5}"` ? piece : null;
  });
  const whole = Buffer.concat(pieces.filter((piece) => piece !== null));
  if (pieces.includes(null) || digest(whole) !== oid)
    return refusal(400, "The parts do not make up the object");
  state.objects.set(oid, whole);
  return json({ success: true });
}

type Line =
  | { readonly key: "header"; readonly value: { readonly summary: string; readonly parentCommit?: string } }
  | { readonly key: "file"; readonly value: { readonly path: string; readonly content: string } }
  | {
      readonly key: "lfsFile";
      readonly value: { readonly path: string; readonly oid: string; readonly size: number };
    }
  | { readonly key: "deletedFile"; readonly value: { readonly path: string } };

function commit(state: HubState, repository: HubRepository, body: Buffer): HubReply {
  const lines = body
    .toString()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
  const [header] = lines;
  if (header?.key !== "header" || header.value.summary === "")
    return refusal(400, "The commit has no summary");
  const { parentCommit } = header.value;
  if (parentCommit !== undefined && parentCommit !== repository.head)
    return refusal(412, "A commit has happened since. Please refresh and try again.");
  for (const line of lines) {
    if (line.key === "lfsFile" && state.transfer === "lfs" && !state.objects.has(line.value.oid))
      return refusal(400, `LFS pointer points to a file that does not exist: ${line.value.path}`);
  }
  for (const line of lines) {
    if (line.key === "file") repository.files.set(line.value.path, Buffer.from(line.value.content, "base64"));
    if (line.key === "deletedFile") repository.files.delete(line.value.path);
    if (line.key === "lfsFile")
      repository.files.set(line.value.path, state.objects.get(line.value.oid) ?? Buffer.alloc(0));
  }
  repository.head = commitOf(repository.head + body.toString());
  return json({
    success: true,
    commitOid: repository.head,
    commitUrl: `${state.urls.hub}/commit`,
    hookOutput: "",
  });
}
