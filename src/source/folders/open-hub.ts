// A repository of the Hugging Face Hub, pinned to a commit.

import { listFiles, modelInfo } from "@huggingface/hub";
import { AccessError, NetworkError } from "../../errors.ts";
import type { RemoteFile } from "../http/fetch-range.ts";
import { type Host, hubHost } from "../http/host.ts";
import { MAX_FILES, type ModelFolder, plainName } from "./model-folder.ts";
import { ask } from "../http/request.ts";
import { type Transport, withRetry } from "../http/retry.ts";
import { encodePath, isSafePath, isSourcePath } from "../../formats/files/safe-path.ts";
import type { SourceFile } from "../../api/source-api.ts";

export interface HubAddress {
  readonly hubUrl: string;
  readonly repository: string;
  /** Branch, tag or commit; null is the main branch. */
  readonly revision: string | null;
  /** Folder inside the repository, or "". */
  readonly folder: string;
  readonly token: string | null;
}

/**
 * Resolves the revision to its commit and lists the files there: from then on the same addresses mean the same bytes.
 * @throws AccessError if the repository is gated, private or absent; NetworkError
 */
export async function openHub(
  transport: Transport,
  address: HubAddress,
  signal: AbortSignal,
): Promise<ModelFolder> {
  const { hubUrl, folder } = address;
  const host = hubHost(address);
  const fetch = hubFetch(transport, host, address, signal);
  const {
    name: repository,
    sha,
    gated,
  } = await modelInfo({
    name: address.repository,
    revision: address.revision ?? "main",
    additionalFields: ["sha"],
    hubUrl,
    fetch,
  });
  if (!/^[0-9a-f]{40}$/.test(sha) || !isSafePath(repository)) {
    throw new NetworkError(`${host.name} does not say which commit ${address.repository} stands at.`);
  }
  const files = new Map<string, RemoteFile>();
  const listed: SourceFile[] = [];
  const listing = { repo: { type: "model", name: repository }, revision: sha, recursive: true } as const;
  for await (const entry of listFiles({ ...listing, hubUrl, fetch, ...(folder ? { path: folder } : {}) })) {
    const path = folder ? entry.path.slice(folder.length + 1) : entry.path;
    if (entry.type !== "file" || !isSourcePath(path) || !Number.isSafeInteger(entry.size)) continue;
    const url = `${hubUrl}/${repository}/resolve/${sha}/${encodePath(entry.path)}`;
    const bytes = entry.lfs?.size ?? entry.size;
    files.set(path, { path, url, host, bytes, validator: null });
    const version = entry.lfs?.oid ?? entry.oid;
    listed.push({ path, bytes, ...(version ? { version } : {}) });
    if (files.size > MAX_FILES) throw tooMany(repository, folder);
  }
  return {
    kind: "remote",
    files,
    opened: {
      key: `hub:${repository}@${sha}${folder && `/${folder}`}`,
      label: `${repository} @ ${sha.slice(0, 7)}${folder && `, ${folder}`}`,
      name: plainName([repository.split("/")[1], ...(folder ? [folder.split("/").at(-1)] : [])].join("-")),
      repository,
      revision: sha,
      host: host.name,
      files: listed,
      ...(gated ? { gated: true } : {}),
    },
  };
}

function tooMany(repository: string, folder: string): AccessError {
  return new AccessError(
    `${folder ? `The folder ${folder} of ${repository}` : repository} has more than ${MAX_FILES} files. Name the folder of one model inside it, the one with its config.json, by its address.`,
  );
}

/**
 * A `fetch` for the Hub library with our retries, sentences and abort. The token is added here and not by the library, so that
 * one place decides who sees it; and a next page on another host is not followed.
 */
function hubFetch(transport: Transport, host: Host, address: HubAddress, signal: AbortSignal): typeof fetch {
  return async (input) => {
    const url = String(input instanceof Request ? input.url : input);
    if (new URL(url).origin !== new URL(address.hubUrl).origin) {
      throw new NetworkError(`${host.name} points to ${new URL(url).host} for its list of files.`);
    }
    const what = address.folder ? `folder ${address.folder}` : `file list of ${address.repository}`;
    return await withRetry(transport, signal, async () => {
      const answer = await ask(transport, host, { url, what }, signal);
      const body = await answer.receive(answer.response.arrayBuffer(), (list) => list.byteLength);
      return new Response(body, { headers: answer.response.headers });
    });
  };
}
