// The part of the Hub's interface that reading a model takes, as @huggingface/hub asks for it.

import { createHash } from "node:crypto";
import type { ServedFile, HostedModel, ModelServerOptions } from "./served-model.ts";

export type HubAnswer =
  | {
      readonly kind: "json";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: unknown;
    }
  /** A file that `resolve` points at, or that the Hub itself serves from its cache of small files. */
  | {
      readonly kind: "resolve" | "cached";
      readonly repository: string;
      readonly path: string;
      readonly file: ServedFile;
    };

const DEFAULT_PAGE_ENTRIES = 1000;

/** 40 hexadecimal digits, for ever the same for one repository. */
export function commitOf(repository: string): string {
  return createHash("sha1").update(repository).digest("hex");
}

/** Routes a GET request; errors carry the Hub's own codes. */
export function hubResponse(options: ModelServerOptions, url: URL, authorization: string | null): HubAnswer {
  const parts = url.pathname.slice(1).split("/").map(decodeURIComponent);
  const api = parts[0] === "api";
  const cached = api && parts[1] === "resolve-cache";
  const [owner = "", name = "", verb = "", revision = "", ...rest] = parts.slice(cached ? 3 : api ? 2 : 0);
  const repository = `${owner}/${name}`;
  const model = options.models[repository];
  const authorized = options.token !== undefined && authorization === `Bearer ${options.token}`;
  if (authorization !== null && !authorized)
    return refusal(401, "", "Invalid credentials in Authorization header");
  if (!model || (model.private && !authorized)) {
    return refusal(authorized ? 404 : 401, "RepoNotFound", "Repository not found");
  }
  if (cached) return fileAnswer("cached", model, repository, [revision, ...rest].join("/"));
  if (!isRevision(repository, revision))
    return refusal(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
  if (api && verb === "revision") return modelInfo(model, repository, url);
  if (api && verb === "tree") return tree(options, model, rest.join("/"), url);
  if (verb !== "resolve") return refusal(404, "", "Not found");
  if (model.gated && !authorized) {
    return refusal(
      401,
      "GatedRepo",
      `Access to model ${repository} is restricted. You must be authenticated to access it.`,
    );
  }
  return fileAnswer("resolve", model, repository, rest.join("/"));
}

function isRevision(repository: string, revision: string): boolean {
  return ["main", "HEAD", "refs/pr/1", commitOf(repository)].includes(revision);
}

function refusal(status: number, code: string, message: string): HubAnswer {
  const headers = { ...(code ? { "x-error-code": code } : {}), "x-error-message": message };
  return { kind: "json", status, headers, body: { error: message } };
}

function modelInfo(model: HostedModel, repository: string, url: URL): HubAnswer {
  const expand = url.searchParams.getAll("expand");
  const body = {
    _id: commitOf(repository).slice(0, 24),
    id: repository,
    private: model.private ?? false,
    gated: model.gated ? "manual" : false,
    downloads: 0,
    likes: 0,
    lastModified: "2026-01-01T00:00:00.000Z",
    // What is not asked for by `expand` is not there.
    ...(expand.length === 0 || expand.includes("sha") ? { sha: commitOf(repository) } : {}),
  };
  return { kind: "json", status: 200, body };
}

function tree(options: ModelServerOptions, model: HostedModel, folder: string, url: URL): HubAnswer {
  const prefix = folder === "" ? "" : `${folder}/`;
  const entries = [...model.files]
    .filter(([path]) => path.startsWith(prefix))
    .map(([path, file]) => ({ type: "file", oid: commitOf(path), size: file.bytes, path }));
  if (entries.length === 0) return refusal(404, "EntryNotFound", `${folder} does not exist`);
  const pageEntries = options.treePageEntries ?? DEFAULT_PAGE_ENTRIES;
  const first = Number(url.searchParams.get("cursor") ?? 0);
  const next = new URL(url);
  next.searchParams.set("cursor", String(first + pageEntries));
  const headers: Record<string, string> =
    first + pageEntries < entries.length ? { link: `<${next}>; rel="next"` } : {};
  return { kind: "json", status: 200, headers, body: entries.slice(first, first + pageEntries) };
}

function fileAnswer(
  kind: "resolve" | "cached",
  model: HostedModel,
  repository: string,
  path: string,
): HubAnswer {
  const file = model.files.get(path);
  if (!file) return refusal(404, "EntryNotFound", "Entry not found");
  return { kind, repository, path, file };
}
