// A folder of files to a repository of the Hub, by one commit. Large files go to the Hub's storage first, as LFS or Xet as the
// Hub says; what lies there already is not sent again, so that trying again goes on where an upload was cut.

import {
  type CommitOperation,
  commitIter,
  createRepo,
  HubApiError,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from "@huggingface/hub";
import { AccessError, NetworkError } from "../errors.ts";
import type { Published, PublishProgress, Visibility } from "../api/publisher-api.ts";
import { hubFetch, PUBLISH_TIMING, type PublishTiming } from "./hub-fetch.ts";
import { holdsFiles, ownFiles, type UploadedFile } from "./holds-files.ts";
import { TOKEN_SENTENCE } from "../formats/files/hub-token.ts";
import { publishFailure } from "./publish-failure.ts";
import { uploadProgress } from "./upload-progress.ts";

export interface Upload {
  readonly hubUrl: string;
  readonly token: string;
  readonly repository: string;
  readonly visibility: Visibility;
  readonly existing: boolean;
  readonly files: readonly UploadedFile[];
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PublishProgress) => void;
  readonly timing?: PublishTiming;
}

/** Weights of a model; those of an earlier result do not belong to this one. */
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

/**
 * Uploads files.
 * @throws AccessError if the token may not, or the repository holds something already; StorageError if the Hub has no room;
 * BusyError if there is a newer commit meanwhile; NetworkError; the signal's reason when aborted
 */
export async function publishFiles(upload: Upload): Promise<Published> {
  const { hubUrl, token, repository, signal, timing = PUBLISH_TIMING } = upload;
  if (!token.startsWith("hf_")) throw new AccessError(TOKEN_SENTENCE);
  const hub: Hub = {
    hubUrl,
    accessToken: token,
    fetch: hubFetch({ hubUrl, token, timing, signal }),
  };
  try {
    const made = await makeRepository(upload, hub);
    const head = await headOf(upload, hub, made);
    const commit = head.holdsAll ? head.commit : await commitFiles(upload, hub, head);
    return { repository, url: `${new URL(hubUrl).origin}/${repository}`, commit };
  } catch (error) {
    signal.throwIfAborted();
    throw publishFailure(error, upload);
  }
}

interface Hub {
  readonly hubUrl: string;
  readonly accessToken: string;
  readonly fetch: typeof fetch;
}

/** False if the repository was there. */
async function makeRepository({ repository, visibility }: Upload, hub: Hub): Promise<boolean> {
  try {
    await createRepo({ repo: { type: "model", name: repository }, visibility, ...hub });
    return true;
  } catch (error) {
    if (error instanceof HubApiError && error.statusCode === 409) return false;
    throw error;
  }
}

interface Head {
  readonly commit: string;
  readonly paths: readonly string[];
  /** What is to be published is there, and nothing else. */
  readonly holdsAll: boolean;
}

/** Where the repository stands; refuses to write into one that is not as it was asked for. */
async function headOf(upload: Upload, hub: Hub, made: boolean): Promise<Head> {
  const { repository, visibility, existing, files } = upload;
  const info = await modelInfo({ name: repository, revision: "main", additionalFields: ["sha"], ...hub });
  if (!/^[0-9a-f]{40}$/.test(info.sha))
    throw new NetworkError(`${new URL(hub.hubUrl).host} does not say at which commit ${repository} stands.`);
  const listed: ListFileEntry[] = [];
  const listing = { repo: { type: "model", name: repository }, revision: info.sha, recursive: true } as const;
  if (!made) for await (const entry of listFiles({ ...listing, ...hub })) listed.push(entry);
  // An upload that was cut leaves a repository with nothing in it, or, cut after its commit, with all.
  const isEmpty = ownFiles(listed).length === 0;
  const holdsAll = !existing && !isEmpty && (await holdsFiles(listed, files));
  if (!existing && !isEmpty && !holdsAll)
    throw new AccessError(
      `${repository} exists already, and is not empty. Choose another name, or allow the result to be committed into it.`,
    );
  if (!made && info.private !== (visibility === "private"))
    throw new AccessError(
      `${repository} is ${info.private ? "private" : "public"}, and ${visibility} was asked for. Choose that, or change it in the repository’s settings first.`,
    );
  return { commit: info.sha, paths: listed.map(({ path }) => path), holdsAll };
}

async function commitFiles({ repository, files, signal, onProgress }: Upload, hub: Hub, head: Head) {
  const sizes = new Map(files.map(({ path, content }) => [path, content.size]));
  const progress = uploadProgress(sizes, onProgress);
  const stale = head.paths.filter((path) => WEIGHTS.test(path) && !sizes.has(path));
  const operations: CommitOperation[] = [
    ...files.map(({ path, content }) => ({ operation: "addOrUpdate" as const, path, content })),
    ...stale.map((path) => ({ operation: "delete" as const, path })),
  ];
  const events = commitIter({
    repo: { type: "model", name: repository },
    title: "Add a model made with Layerpress",
    operations,
    parentCommit: head.commit,
    abortSignal: signal,
    ...hub,
  });
  let phase = "";
  for (;;) {
    const { done, value } = await events.next();
    if (done) return value?.commit.oid ?? "";
    const next = value.event === "phase" ? PHASES[value.phase] : STATES[value.state];
    // Small files go with the commit itself.
    if (value.event === "fileProgress" && phase === "committing") continue;
    if (next && next !== phase) progress.begin((phase = next));
    if (value.event === "fileProgress") progress.file(value.path, value.progress);
  }
}

const PHASES = { preuploading: "preparing", uploadingLargeFiles: null, committing: "committing" } as const;
const STATES = { hashing: "hashing", uploading: "uploading", error: null } as const;
