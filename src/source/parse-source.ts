// One text field takes every way of naming a model; this is where it becomes one of two things.

import { AccessError } from "../errors.ts";
import { isSourcePath } from "../formats/files/safe-path.ts";
import { shorten } from "../formats/text/show-value.ts";

export type ParsedAddress =
  /** A repository of the Hub; a null revision is its main branch, and `folder` is "" or a path inside. */
  | {
      readonly kind: "hub";
      readonly repository: string;
      readonly revision: string | null;
      readonly folder: string;
    }
  /** A folder of any server. The URL ends in "/" before its query; `file` is a file of it that the address named. */
  | { readonly kind: "folder"; readonly url: string; readonly file: string | null };

export interface AddressContext {
  /** Relative addresses resolve against this: the page's own folder. */
  readonly base: string;
  /** Origin of the Hub. */
  readonly hubUrl: string;
}

/** Longer than any signed URL. */
const MAX_ADDRESS_LENGTH = 8192;
const HUB_HOSTS = ["huggingface.co", "www.huggingface.co", "hf.co"];
const NAME = "[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,95})";
const HUB_ID = new RegExp(`^(${NAME}/${NAME})(?:@([^@\\s]+))?/?$`);
const MODEL_FILE = /^[^/]+\.(safetensors|json|txt|jinja|model|md|yaml)$/;
const FOREIGN_WEIGHTS = /\.(gguf|bin|pth?|ckpt|onnx|h5|npz|zip|tar|gz)$/i;
/** First path segments of the Hub that are not owners of models. */
const HUB_SECTIONS = new Set([
  "datasets",
  "spaces",
  "models",
  "docs",
  "papers",
  "collections",
  "api",
  "blog",
]);
const HUB_VIEWS = new Set(["tree", "blob", "resolve", "raw"]);

/**
 * Reads `owner/name`, `owner/name@revision`, a page of the Hub, or the URL of a model folder or of one of its files, absolute or
 * relative ("sample/"). Two plain names with one "/" are always the Hub's; write "./a/b" for a folder beside the page.
 * @throws AccessError with a sentence that says what would be understood.
 */
export function parseSource(address: string, context: AddressContext): ParsedAddress {
  const text = address.trim().replace(/^<(.*)>$/, "$1");
  if (text === "") {
    throw new AccessError(
      "Name a model: owner/name on the Hugging Face Hub, the address of a folder with safetensors, or drop its files here.",
    );
  }
  const [, repository, revision] = HUB_ID.exec(text) ?? [];
  if (repository !== undefined && !HUB_HOSTS.includes(repository.split("/")[0] ?? "")) {
    return { kind: "hub", repository, revision: checkRevision(revision ?? null), folder: "" };
  }
  const url = toUrl(text, context.base);
  const hubHosts = [...HUB_HOSTS, new URL(context.hubUrl).host];
  if (hubHosts.includes(url.host)) return parseHubPage(url);
  checkMixedContent(url, context.base);
  return parseFolder(url);
}

/** What the browser would refuse without saying why. */
function checkMixedContent(url: URL, base: string): void {
  const local = /^(localhost|127(\.\d+){3}|\[::1\]|.*\.localhost)$/.test(url.hostname);
  if (url.protocol === "https:" || local || new URL(base).protocol !== "https:") return;
  throw new AccessError(
    `Browsers do not let a page from https fetch from http://${url.host}. Use an https address, or download the files and drop the folder here.`,
  );
}

function toUrl(text: string, base: string): URL {
  const schemeless = HUB_HOSTS.some((host) => text.startsWith(`${host}/`));
  const relative = /^\.{0,2}\/|\/$|\/[^/]*\.(json|safetensors)$/.test(text);
  const absolute = schemeless ? `https://${text}` : text;
  const url = parseUrl(absolute, relative ? base : undefined);
  if (!url || text.length > MAX_ADDRESS_LENGTH || !["https:", "http:"].includes(url.protocol)) {
    throw new AccessError(
      `"${shorten(text)}" is not an address that can be fetched. Write owner/name for a model on the Hugging Face Hub, or a whole address that begins with https://. A folder on this computer can be dropped on the page.`,
    );
  }
  if (url.username || url.password) {
    throw new AccessError(
      `The address of ${url.host} holds a user name or password, which browsers do not send. Use an address without them.`,
    );
  }
  url.hash = "";
  return url;
}

function parseUrl(text: string, base: string | undefined): URL | null {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
}

function parseHubPage(url: URL): ParsedAddress {
  const [owner = "", name = "", view, ...rest] = segmentsOf(url);
  const [, repository] = HUB_ID.exec(`${owner}/${name}`) ?? [];
  if (repository === undefined || HUB_SECTIONS.has(owner)) {
    throw new AccessError(
      `${shorten(url.host + url.pathname)} is not the page of a model. Its address looks like https://huggingface.co/owner/name.`,
    );
  }
  if (view === undefined || !HUB_VIEWS.has(view)) {
    return { kind: "hub", repository, revision: null, folder: "" };
  }
  // The slashes of a branch are encoded ("feature%2Fbranch"); "refs/pr/1" is the one revision that pages write with them.
  const revisionParts = rest[0] === "refs" ? 3 : 1;
  const path = view === "tree" ? rest.slice(revisionParts) : rest.slice(revisionParts, -1);
  const folder = path.join("/");
  if (folder !== "" && !isSourcePath(folder)) {
    throw new AccessError(`The folder "${shorten(folder)}" of ${repository} has a name that cannot be used.`);
  }
  const revision = rest.slice(0, revisionParts).join("/");
  return { kind: "hub", repository, revision: checkRevision(revision || null), folder };
}

function parseFolder(url: URL): ParsedAddress {
  const last = segmentsOf(url).at(-1) ?? "";
  if (FOREIGN_WEIGHTS.test(last)) {
    throw new AccessError(
      `${shorten(last)} is not a safetensors file. Point at a folder with config.json and .safetensors files.`,
    );
  }
  const isFile = !url.pathname.endsWith("/") && MODEL_FILE.test(last);
  const folder = new URL(url);
  if (isFile) folder.pathname = url.pathname.slice(0, url.pathname.lastIndexOf("/") + 1);
  else if (!url.pathname.endsWith("/")) folder.pathname = `${url.pathname}/`;
  return { kind: "folder", url: folder.href, file: isFile && isSourcePath(last) ? last : null };
}

function segmentsOf(url: URL): string[] {
  const segments = url.pathname.split("/").filter((segment) => segment !== "");
  try {
    return segments.map((segment) => decodeURIComponent(segment));
  } catch (cause) {
    throw new AccessError(`The address of ${url.host} is not properly encoded.`, { cause });
  }
}

function checkRevision(revision: string | null): string | null {
  if (revision === null) return null;
  if (isRevision(revision)) return revision;
  throw new AccessError(
    `"${shorten(revision)}" cannot be a revision. It is a branch, a tag or a commit of the repository.`,
  );
}

/** A name that git takes for a branch, a tag or a commit (`git check-ref-format`). */
function isRevision(text: string): boolean {
  return (
    /^[A-Za-z0-9][^\s~^:?*[\\\p{C}]{0,200}$/u.test(text) &&
    !/\.\.|\/\/|@\{|\/$|\.$|\.lock(\/|$)|\/\./.test(text)
  );
}
