// A plain folder of any server. Nothing lists it, so the names that model folders are made of are tried.

import { AccessError, MalformedModelError, NetworkError } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { INDEX_FILE, MAX_INDEX_BYTES, parseIndex } from "../../formats/safetensors/safetensors-index.ts";
import { encodePath } from "../../formats/files/safe-path.ts";
import { fetchRange, type RemoteFile } from "../http/fetch-range.ts";
import { type FileHost, webHost } from "../http/host.ts";
import { digestKey, MAX_FILES, type ModelFolder, plainName } from "./model-folder.ts";
import { codeFiles, moduleFiles } from "./named-files.ts";
import { probeFile } from "../http/probe-file.ts";
import type { Transport } from "../http/retry.ts";
import { listSome } from "../../formats/text/list-some.ts";

const CONFIG_FILE = "config.json";
const WHOLE_FILE = "model.safetensors";
const WEIGHT_FILES = [INDEX_FILE, WHOLE_FILE];
const OTHER_FILES = [
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
  "preprocessor_config.json",
  "processor_config.json",
  "video_preprocessor_config.json",
  "tekken.json",
  "additional_chat_templates/tool_use.jinja",
  "additional_chat_templates/rag.jinja",
  "LICENSE",
  "LICENSE.txt",
  "LICENSE.md",
  "NOTICE",
  "modules.json",
  "config_sentence_transformers.json",
  "sentence_bert_config.json",
  "README.md",
  "recipe.yaml",
  "calibration.txt",
  "evaluation.txt",
];
/** Files that name others. */
const NAMING_FILES: readonly (readonly [string, (path: string, bytes: Uint8Array) => string[]])[] = [
  [CONFIG_FILE, codeFiles],
  ["tokenizer_config.json", codeFiles],
  ["modules.json", moduleFiles],
];
/** A configuration is shorter, and what names nothing is not worth waiting for. */
const MAX_NAMING_BYTES = 4_000_000;
/** Probes are tiny; six is what a browser opens to one HTTP/1.1 server. */
const PARALLEL_PROBES = 6;

/**
 * Finds the files of a folder and pins their versions by ETag.
 * @param address URL of the folder, ending in "/" before its query, and a file of it that is known by name
 * @throws AccessError if there is no model, MalformedModelError if the index names missing files, NetworkError
 */
export async function openFolder(
  transport: Transport,
  address: { readonly url: string; readonly file: string | null },
  signal: AbortSignal,
): Promise<ModelFolder> {
  const folder = new URL(address.url);
  const host = webHost(folder.href);
  const probes = { transport, folder, host, signal };
  const config = await probe(probes, CONFIG_FILE);
  const named = new Set([...WEIGHT_FILES, ...(address.file ? [address.file] : []), ...OTHER_FILES]);
  named.delete(CONFIG_FILE);
  const found = await probeAll(probes, [...named]);
  const files = new Map([config, ...found].filter(isFile).map((file) => [file.path, file]));
  if (config instanceof AccessError && ![...files.keys()].some((path) => path.endsWith(".safetensors"))) {
    throw config;
  }
  for (const shard of await probeShards(probes, files)) files.set(shard.path, shard);
  for (const file of await probeNamed(probes, files)) files.set(file.path, file);
  const pinned = [...files.values()].map(({ path, bytes, validator }) => ({
    path,
    bytes,
    version: validator,
  }));
  return {
    kind: "remote",
    files,
    opened: {
      // Without the query: signatures in it change from visit to visit.
      key: `url:${await digestKey(folder.origin + folder.pathname, pinned)}`,
      label: `${host.name}${decodeURI(folder.pathname).replace(/\/$/, "")}`,
      name: plainName(decodeURI(folder.pathname).split("/").at(-2) ?? ""),
      repository: null,
      revision: null,
      host: host.name,
      files: [...files.values()].map(({ path, bytes, validator }) => ({
        path,
        bytes,
        ...(validator === null ? {} : { version: validator }),
      })),
    },
  };
}

interface Probes {
  readonly transport: Transport;
  readonly folder: URL;
  readonly host: FileHost;
  readonly signal: AbortSignal;
}

/** A file, or why the server does not give it. */
type Found = RemoteFile | AccessError;

function isFile(found: Found): found is RemoteFile {
  return !(found instanceof AccessError);
}

async function probe({ transport, folder, host, signal }: Probes, path: string): Promise<Found> {
  const url = new URL(folder);
  url.pathname += encodePath(path);
  // A silence is soon believed: a folder has some ten of the files that are tried.
  const impatient = { ...transport, reached: new Set<string>() };
  return await probeFile(impatient, { path, url: url.href, host }, signal);
}

/**
 * Many servers answer 404 without CORS headers, which looks like a dead connection: such a file is taken for absent if config.json
 * can be had right after.
 */
async function probeOptional(probes: Probes, path: string): Promise<Found> {
  try {
    return await probe(probes, path);
  } catch (error) {
    if (!(error instanceof NetworkError && error.cause instanceof TypeError)) throw error;
    const config = await probe(probes, CONFIG_FILE);
    if (!isFile(config)) throw error;
    return probes.host.refusal(404, null, path);
  }
}

async function probeAll(probes: Probes, paths: readonly string[]): Promise<Found[]> {
  return await mapLimited(PARALLEL_PROBES, paths, async (path) => await probeOptional(probes, path));
}

/** Files that small files of the folder name: code, and the modules of sentence-transformers. */
async function probeNamed(probes: Probes, files: ReadonlyMap<string, RemoteFile>): Promise<RemoteFile[]> {
  const named = new Set<string>();
  for (const [path, namesOf] of NAMING_FILES) {
    const file = files.get(path);
    if (!file || file.bytes > MAX_NAMING_BYTES) continue;
    const bytes = await fetchRange(probes.transport, file, { start: 0, end: file.bytes }, probes.signal);
    for (const name of namesOf(path, bytes)) named.add(name);
  }
  const found = await probeAll(
    probes,
    [...named].filter((path) => !files.has(path)),
  );
  return found.filter(isFile);
}

/** The shards that the folder's index names. */
async function probeShards(probes: Probes, files: ReadonlyMap<string, RemoteFile>): Promise<RemoteFile[]> {
  const index = files.get(INDEX_FILE);
  if (!index) return [];
  if (index.bytes > MAX_INDEX_BYTES) {
    throw new MalformedModelError(
      `${INDEX_FILE} has ${index.bytes} bytes; no model needs more than ${MAX_INDEX_BYTES}.`,
    );
  }
  const span = { start: 0, end: index.bytes };
  const bytes = await fetchRange(probes.transport, index, span, probes.signal);
  const names = [...new Set(parseIndex(bytes).values())];
  if (names.length > MAX_FILES) {
    throw new MalformedModelError(`${INDEX_FILE} names ${names.length} files; no model has that many.`);
  }
  const shards = await probeAll(probes, names);
  const missing = names.filter((_, position) => shards[position] instanceof AccessError);
  // Loaders take a whole model.safetensors before an index, which may be left from an earlier upload.
  if (missing.length > 0 && !files.has(WHOLE_FILE)) {
    throw new MalformedModelError(
      `${INDEX_FILE} names files that ${probes.host.name} does not have, or does not give: ${listSome(missing, 3)}. The upload is not complete.`,
    );
  }
  return shards.filter(isFile);
}
