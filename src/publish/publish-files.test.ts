import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  commitMeanwhile,
  type PublishFault,
  type PublishingHub,
  startPublishingHub,
} from "../../scripts/model-server/publishing-hub.ts";
import type { PublishProgress } from "../api/publisher-api.ts";
import { publishFiles, type Upload } from "./publish-files.ts";

const TOKEN = "hf_of_this_test";
const PART = 200_000;
const timing = { stallMs: 5_000, answerMs: 5_000, retryMs: [1, 1, 1] };

let hub: PublishingHub;
beforeEach(async () => {
  hub = await startPublishingHub({ accounts: { [TOKEN]: { name: "ada", orgs: ["lab"] } }, partBytes: PART });
});
afterEach(async () => await hub.close());

const noise = (bytes: number, seed: number) =>
  Uint8Array.from({ length: bytes }, (_, at) => (Math.imul(at + seed, 2_654_435_761) >>> 24) & 255);
const CONTENTS: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = {
  "model-00001-of-00002.safetensors": noise(3 * PART - 7, 1),
  "model-00002-of-00002.safetensors": noise(PART - 1, 2),
  "config.json": new TextEncoder().encode("{}"),
  "1_Pooling/config.json": new TextEncoder().encode('{"a":1}'),
};
const FILES = Object.entries(CONTENTS).map(([path, bytes]) => ({
  path,
  content: new Blob([bytes]),
  sha256: createHash("sha256").update(bytes).digest("hex"),
}));

async function publish(own: Partial<Upload> = {}) {
  const { signal } = new AbortController();
  const shared = { hubUrl: hub.url, token: TOKEN, repository: "lab/tiny-W4A16", existing: false, timing };
  return await publishFiles({
    ...shared,
    visibility: "private",
    files: FILES,
    signal,
    onProgress: () => undefined,
    ...own,
  });
}

const failure = async (own: Partial<Upload> = {}) =>
  await publish(own).then(
    () => "published",
    (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error)),
  );

const digests = (files: Iterable<readonly [string, Uint8Array]>) =>
  new Map(Array.from(files, ([path, bytes]) => [path, createHash("sha256").update(bytes).digest("hex")]));

function expectPublished(): void {
  const files = hub.state.repositories.get("lab/tiny-W4A16")?.files ?? new Map<string, Buffer>();
  const own = [...files].filter(([path]) => path !== ".gitattributes");
  expect(digests(own)).toEqual(digests(Object.entries(CONTENTS)));
}

it("one commit holds all files, large ones by way of the storage, and nobody but the Hub sees the token", async () => {
  const told: PublishProgress[] = [];
  const { commit, url } = await publish({ onProgress: (progress) => told.push(progress) });
  expectPublished();
  expect(hub.state.repositories.get("lab/tiny-W4A16")).toMatchObject({ private: true, head: commit });
  expect(url).toBe(`${hub.url}/lab/tiny-W4A16`);
  expect(new Set(told.map(({ phase }) => phase))).toEqual(
    new Set(["preparing", "hashing", "uploading", "committing"]),
  );
  const elsewhere = hub.log.filter(({ origin }) => origin !== "hub");
  expect(elsewhere.map(({ method }) => method)).toEqual(["PUT", "PUT", "PUT", "PUT"]);
  expect(elsewhere.filter(({ text, path }) => (text + path).includes(TOKEN))).toEqual([]);
  const signed = hub.log.filter(({ path }) => path.startsWith("/complete"));
  expect(signed.map(({ authorization }) => authorization)).toEqual([null]);
  expect(hub.log.filter(({ path }) => path.includes(TOKEN))).toEqual([]);
});

it("takes the way of xorbs and shards where the Hub asks for it", async () => {
  await hub.close();
  hub = await startPublishingHub({ accounts: hub.state.accounts, transfer: "xet" });
  await publish();
  const stored = hub.log.filter(({ origin }) => origin === "storage");
  const sent = stored.filter(({ method }) => method === "POST");
  const ways = new Set(sent.map(({ path }) => path.split("/").slice(0, 3).join("/")));
  expect(ways).toEqual(new Set(["/v1/xorbs", "/v1/shards"]));
  expect(stored.filter(({ text }) => text.includes(TOKEN))).toEqual([]);
  const commit = hub.log.find(({ path }) => path.includes("/commit/"))?.text ?? "";
  for (const [path, digest] of digests(Object.entries(CONTENTS).slice(0, 2)))
    expect(commit).toContain(
      `"path":"${path}","algo":"sha256","size":${CONTENTS[path]?.byteLength},"oid":"${digest}"`,
    );
});

it("an upload that is cut goes on: what arrived is not sent again, in the same visit or the next", async () => {
  hub.faults.push({ origin: "storage", path: "/lfs/", skip: 1, times: 2, answer: "cut" });
  await publish();
  expectPublished();
  const again = await startPublishingHub({ accounts: hub.state.accounts, partBytes: PART });
  await hub.close();
  hub = again;
  hub.faults.push({ origin: "storage", path: "/3", times: 99, answer: "cut" });
  expect(await failure()).toMatch(
    /^NetworkError: The connection to 127\.0\.0\.1:\d+ broke\. What arrived whole/,
  );
  hub.faults.length = 0;
  const before = hub.state.storedBytes;
  await publish();
  expectPublished();
  // The object of one part had arrived.
  expect(hub.state.storedBytes - before).toBeLessThanOrEqual(3 * PART);
});

it.each<[string, PublishFault, RegExp]>([
  [
    "an expired token",
    { path: "/api/repos/create", times: 1, answer: { status: 401, error: "Invalid credentials" } },
    /^AccessError: 127.* refuses the token \(401\): it has expired/,
  ],
  [
    "a token that expires in the middle",
    { path: "/commit/", times: 1, answer: { status: 401, error: "Invalid credentials" } },
    /^AccessError: .*refuses the token \(401\)/,
  ],
  [
    "a full quota",
    {
      path: "/objects/batch",
      times: 9,
      answer: { status: 403, error: "Private repository storage limit reached, please upgrade your plan" },
    },
    /^StorageError: .*has no room .*“Private repository storage limit reached, please upgrade your plan”/,
  ],
  [
    "a Hub that is busy",
    { path: "/preupload/", times: 99, answer: { status: 503, error: "Busy" } },
    /^NetworkError: .*answers 503: “Busy”/,
  ],
])("is told of %s in a sentence", async (_what, fault, sentence) => {
  hub.faults.push(fault);
  const told = await failure();
  expect(told).toMatch(sentence);
  expect(told).not.toContain(TOKEN);
});

it("is told that an owner is not its own, and that a token is none", async () => {
  expect(await failure({ repository: "others/tiny" })).toMatch(
    /^AccessError: .*does not let this token write to others\/tiny \(403\): “You don't have the rights/,
  );
  expect(await failure({ token: "hf_unknown" })).toMatch(/^AccessError: .*refuses the token/);
  expect(await failure({ token: "api_old" })).toMatch(/^AccessError: A token of the Hub begins with “hf_”/);
});

it("never writes into a repository that holds something unless asked, nor into one that others may see", async () => {
  await publish();
  for (const others of [FILES.slice(1), [...FILES, { path: "more.txt", content: new Blob(["more"]) }]])
    expect(await failure({ files: others })).toMatch(
      /^AccessError: lab\/tiny-W4A16 exists already, and is not empty/,
    );
  expect(await failure({ existing: true, visibility: "public" })).toMatch(
    /is private, and public was asked for/,
  );
  const files = FILES.slice(1, 3);
  await publish({ existing: true, files });
  const paths = [...(hub.state.repositories.get("lab/tiny-W4A16")?.files.keys() ?? [])];
  // A shard of the earlier result is gone, other files are left alone.
  expect(paths).not.toContain("model-00001-of-00002.safetensors");
  expect(paths).toContain("1_Pooling/config.json");
});

/** The files, one with another content of the same length. */
function* variants() {
  for (const [at, { path, content }] of FILES.entries()) {
    const other = noise(content.size, 99);
    const sha256 = createHash("sha256").update(other).digest("hex");
    yield FILES.with(at, { path, content: new Blob([other]), sha256 });
  }
}

it("takes a repository that holds just this result for published: the word of its commit may have been lost", async () => {
  const first = await publish();
  const commits = () => hub.log.filter(({ path }) => path.includes("/commit/")).length;
  expect(await publish()).toEqual(first);
  expect(commits()).toBe(1);
  expect(await failure({ visibility: "public" })).toMatch(/is private, and public was asked for/);
  for (const files of variants()) expect(await failure({ files })).toMatch(/^AccessError: .* is not empty/);
});

it("does not put itself over a commit that came meanwhile, and goes on top of it when asked again", async () => {
  const onProgress = ({ phase }: PublishProgress) => {
    if (phase === "hashing") commitMeanwhile(hub, "lab/tiny-W4A16");
  };
  expect(await failure({ onProgress })).toMatch(
    /^BusyError: lab\/tiny-W4A16 was changed while .*newer commit/,
  );
  await publish();
  expectPublished();
});

it("says that a file is gone whose job was deleted in another tab meanwhile", async () => {
  const gone = () => {
    throw new DOMException("The requested file could not be read.", "NotReadableError");
  };
  const [weights, ...others] = FILES;
  const content = Object.assign(new Blob([weights?.content ?? ""]), {
    slice: gone,
    stream: gone,
    arrayBuffer: gone,
  });
  expect(await failure({ files: [{ path: weights?.path ?? "", content }, ...others] })).toMatch(
    /^StorageError: A file of the result can no longer be read .* deleted in another tab/,
  );
});

it.each(["/api/repos/create", "/preupload/", "/commit/"])(
  "ends with a sentence where the Hub never answers %s",
  async (path) => {
    hub.faults.push({ path, times: 1, answer: "silence" });
    expect(await failure({ timing: { ...timing, answerMs: 500 } })).toMatch(
      /^NetworkError: 127\.0\.0\.1:\d+ has not answered for 1 s\. Look there/,
    );
  },
);

it("ends where it is stopped", async () => {
  const stop = new AbortController();
  const onProgress = ({ phase }: PublishProgress) => {
    if (phase === "uploading") stop.abort();
  };
  expect(await failure({ signal: stop.signal, onProgress })).toMatch(/^AbortError/);
  expect([...(hub.state.repositories.get("lab/tiny-W4A16")?.files.keys() ?? [])]).toEqual([".gitattributes"]);
});

it("sends no token to a host that the Hub names", async () => {
  const { hubFetch } = await import("./hub-fetch.ts");
  const { signal } = new AbortController();
  const fetchFor = hubFetch({ hubUrl: hub.url, token: TOKEN, timing, signal });
  const asked = fetchFor(`${hub.storageUrl}/lfs/x`, { headers: { Authorization: `Bearer ${TOKEN}` } });
  await expect(asked).rejects.toThrow(/asks for the token to be sent to .* Nothing was sent there/);
  expect(hub.log).toEqual([]);
});
