import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { syntheticModel } from "../../../scripts/model-server/synthetic-model.ts";
import { AccessError, MalformedModelError, NetworkError } from "../../errors.ts";
import { testTransport } from "../../testing/sources/fast-retry.ts";
import { fetchRange } from "../http/fetch-range.ts";
import type { ModelFolder } from "./model-folder.ts";
import { openFolder } from "./open-folder.ts";
import { type HubAddress, openHub } from "./open-hub.ts";

const TOKEN = "hf_test";
const never = new AbortController().signal;
const sharded = syntheticModel({
  layers: 2,
  hidden: 64,
  intermediate: 128,
  heads: 4,
  kvHeads: 2,
  vocab: 256,
  dtype: "BF16",
  shards: 2,
});
const single = memoryModel({
  "config.json": "{}",
  "model.safetensors": new Uint8Array(200_000),
  "tokenizer.json": "{}",
  ".gitattributes": "*.safetensors filter=lfs",
  "a file with spaces.txt": "",
  "onnx/model.onnx": "x",
  "small/config.json": "{ }",
  "small/model.safetensors": "12345678",
});
const index = (weights: Record<string, string>) => JSON.stringify({ weight_map: weights });
const INDEX = "model.safetensors.index.json";
const ODD_SHARD = "llama+merge [v2] (1).safetensors";
const oddNames = memoryModel({
  "config.json": "{}",
  [INDEX]: index({ a: ODD_SHARD }),
  [ODD_SHARD]: "12345678",
  "a:b.txt": "",
});
let server: ModelServer;

beforeAll(async () => {
  server = await startModelServer({
    token: TOKEN,
    treePageEntries: 3,
    models: {
      "open/sharded": { files: sharded },
      "open/single": { files: single },
      "open/odd": { files: memoryModel({ "config.json": "{}", "my-weights.safetensors": "12345678" }) },
      "gated/model": { files: single, gated: true },
      "private/model": { files: single, private: true },
      "open/odd-names": { files: oddNames },
      "open/stale": {
        files: memoryModel({
          "config.json": "{}",
          "model.safetensors": "12345678",
          [INDEX]: index({ a: "model-00001-of-00002.safetensors" }),
        }),
      },
      "broken/missing": {
        files: memoryModel({
          "config.json": "{}",
          "model.safetensors.index.json": index({ a: "model-1.safetensors", b: "model-2.safetensors" }),
          "model-1.safetensors": "12345678",
        }),
      },
      "broken/outside": {
        files: memoryModel({
          "config.json": "{}",
          "model.safetensors.index.json": index({ a: "../../etc/passwd.safetensors" }),
        }),
      },
      "empty/files": { files: memoryModel({ "config.json": "", "model.safetensors": "" }) },
      "empty/folder": { files: memoryModel({ "notes.txt": "nothing here" }) },
    },
  });
});
afterAll(async () => {
  await server.close();
});
afterEach(() => {
  server.faults.length = 0;
  server.log.length = 0;
});

const hub = async (repository: string, changes: Partial<HubAddress> = {}, transport = testTransport()) => {
  const address = { hubUrl: server.hubUrl, repository, revision: null, folder: "", token: null, ...changes };
  return await openHub(transport, address, never);
};
const folder = async (path: string, file: string | null = null, transport = testTransport()) =>
  await openFolder(transport, { url: `${server.filesUrl}/${path}`, file }, never);
const readWhole = async (model: ModelFolder, path: string) => {
  const file = model.files.get(path);
  if (!file || file instanceof File) throw new Error(`no ${path}`);
  return await fetchRange(testTransport(), file, { start: 0, end: file.bytes }, never);
};
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("openHub", () => {
  it("pins the revision to its commit and lists every page of files", async () => {
    const commit = server.commit("open/sharded");
    const { opened } = await hub("open/sharded");
    expect(opened).toMatchObject({
      key: `hub:open/sharded@${commit}`,
      label: `open/sharded @ ${commit.slice(0, 7)}`,
      name: "sharded",
      repository: "open/sharded",
      revision: commit,
      host: new URL(server.hubUrl).host,
    });
    expect(opened.files).toEqual(
      [...sharded].map(([path, { bytes }]) => ({ path, bytes, version: server.commit(path) })),
    );
    expect(server.log.filter(({ path }) => path.includes("/tree/")).length).toBe(2);
  });

  it("reads small files from the Hub itself and large ones by way of the CDN", async () => {
    const model = await hub("open/single", { revision: "refs/pr/1" });
    server.log.length = 0;
    expect(text(await readWhole(model, "config.json"))).toBe("{}");
    expect((await readWhole(model, "model.safetensors")).byteLength).toBe(200_000);
    expect(server.log.map(({ origin, status }) => [origin, status])).toEqual([
      ["hub", 307],
      ["hub", 206],
      ["hub", 302],
      ["cdn", 206],
    ]);
    expect(server.log[2]?.path).toContain(`/resolve/${server.commit("open/single")}/`);
  });

  it("reads files whose names hold blanks, plus signs and brackets, and leaves out what leads elsewhere", async () => {
    const model = await hub("open/odd-names");
    expect([...model.files.keys()]).toEqual(["config.json", INDEX, ODD_SHARD]);
    expect(text(await readWhole(model, ODD_SHARD))).toBe("12345678");
  });

  it("opens a folder of a repository", async () => {
    const model = await hub("open/single", { folder: "small" });
    expect(model.opened.name).toBe("single-small");
    expect(model.opened.key).toMatch(/\/small$/);
    expect([...model.files.keys()]).toEqual(["config.json", "model.safetensors"]);
    expect(text(await readWhole(model, "config.json"))).toBe("{ }");
  });

  it("gives the token to the Hub and to nobody else", async () => {
    const model = await hub("private/model", { token: TOKEN });
    await readWhole(model, "model.safetensors");
    const seen = (origin: string) =>
      new Set(server.log.filter((entry) => entry.origin === origin).map((entry) => entry.authorization));
    expect(seen("hub")).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(seen("cdn")).toEqual(new Set([null]));
  });

  it("says what opens a gated model", async () => {
    const model = await hub("gated/model");
    const failure = readWhole(model, "config.json");
    await expect(failure).rejects.toThrow(AccessError);
    await expect(failure).rejects.toThrow(
      /gated \(401\): accept its licence on .*gated\/model, then give a token/,
    );
    expect(text(await readWhole(await hub("gated/model", { token: TOKEN }), "config.json"))).toBe("{}");
    server.faults.push({
      path: "/resolve/",
      fault: { kind: "status", status: 403, headers: { "x-error-code": "GatedRepo" } },
    });
    await expect(readWhole(await hub("gated/model", { token: TOKEN }), "config.json")).rejects.toThrow(
      /has no access to it yet \(403\)/,
    );
  });

  it.each<[string, Partial<HubAddress>, RegExp]>([
    ["private/model", {}, /does not exist on .*, or is private or gated \(401\).*token/],
    ["absent/model", {}, /does not exist on .*, or is private/],
    ["absent/model", { token: TOKEN }, /does not exist on .*\(404\)\. Check the name/],
    ["private/model", { token: "hf_wrong" }, /refuses the token/],
    ["open/single", { revision: "v9" }, /has no revision "v9"/],
    ["open/single", { folder: "no/such" }, /open\/single has no folder no\/such in this revision/],
  ])("explains a refusal for %s %j", async (repository, changes, message) => {
    const failure = hub(repository, changes);
    await expect(failure).rejects.toThrow(AccessError);
    await expect(failure).rejects.toThrow(message);
  });

  it("never writes the token into a sentence", async () => {
    await expect(hub("private/model", { token: "hf_wrong" })).rejects.not.toThrow(/hf_wrong/);
  });

  it("tries the file list again when the Hub is busy", async () => {
    server.faults.push({ path: "/tree/", fault: { kind: "status", status: 429 }, times: 2 });
    expect((await hub("open/sharded")).files.size).toBe(4);
  });
});

describe("openFolder", () => {
  it("finds the known files, and the shards of the index", async () => {
    const { opened } = await folder("open/sharded/");
    const expected = [...sharded].map(([path, { bytes, etag }]) => ({ path, bytes, version: etag }));
    expect(opened.files).toHaveLength(expected.length);
    expect(opened.files).toEqual(expect.arrayContaining(expected));
    expect(opened).toMatchObject({
      label: `${new URL(server.filesUrl).host}/open/sharded`,
      name: "sharded",
      repository: null,
      revision: null,
    });
    expect(server.log.every(({ range }) => range !== null)).toBe(true);
  });

  it("keeps its key while the files stay, and changes it with an ETag", async () => {
    const first = await folder("open/single/?signature=1");
    expect((await folder("open/single/?signature=2")).opened.key).toBe(first.opened.key);
    server.faults.push({ path: "tokenizer.json", fault: { kind: "etag", etag: '"v2"' } });
    expect((await folder("open/single/")).opened.key).not.toBe(first.opened.key);
  });

  it("sends the query of a signed folder with every file, and names it nowhere", async () => {
    const model = await folder("open/single/?signature=secret");
    const file = model.files.get("config.json");
    expect(file && !(file instanceof File) && file.url).toMatch(/config\.json\?signature=secret$/);
    expect(JSON.stringify(model.opened)).not.toContain("secret");
  });

  it("takes a file that the address names beside the known ones", async () => {
    const named = await folder("open/odd/", "my-weights.safetensors");
    expect([...named.files.keys()]).toEqual(["config.json", "my-weights.safetensors"]);
    expect([...(await folder("open/odd/")).files.keys()]).toEqual(["config.json"]);
  });

  it("finds shards whose names hold blanks, plus signs and brackets", async () => {
    const model = await folder("open/odd-names/");
    expect(text(await readWhole(model, ODD_SHARD))).toBe("12345678");
  });

  it("opens a folder with an index of shards that are gone beside a whole model.safetensors", async () => {
    expect((await folder("open/stale/")).files.has("model.safetensors")).toBe(true);
  });

  it("names the shards that are missing", async () => {
    const failure = folder("broken/missing/");
    await expect(failure).rejects.toThrow(MalformedModelError);
    await expect(failure).rejects.toThrow(/does not have.*: model-2\.safetensors\./);
  });

  it("refuses an index that points out of the folder", async () => {
    await expect(folder("broken/outside/")).rejects.toThrow(/not the name of a file in this folder/);
    expect(server.log.some(({ path }) => path.includes("passwd"))).toBe(false);
  });

  it("takes an empty file for one that is there", async () => {
    const { opened } = await folder("empty/files/");
    expect(opened.files.map(({ path, bytes }) => [path, bytes])).toEqual([
      ["config.json", 0],
      ["model.safetensors", 0],
    ]);
  });

  it("takes the whole of an empty file, where a part of it was asked for, for one that is there", async () => {
    server.faults.push({ path: "empty/files", fault: { kind: "ignore-range" } });
    const { opened } = await folder("empty/files/");
    expect(opened.files).toContainEqual(expect.objectContaining({ path: "model.safetensors", bytes: 0 }));
  });

  it("says that there is nothing, or that it is not given", async () => {
    await expect(folder("empty/folder/")).rejects.toThrow(/has no config\.json at this address \(404\)/);
    server.faults.push({ fault: { kind: "status", status: 403 } });
    const failure = folder("open/single/");
    await expect(failure).rejects.toThrow(AccessError);
    await expect(failure).rejects.toThrow(/refuses config\.json \(403\)/);
  });

  it("takes a 403 for an optional file as absent, as object stores answer", async () => {
    server.faults.push({ path: "README.md", fault: { kind: "status", status: 403 } });
    expect((await folder("open/single/")).files.has("model.safetensors")).toBe(true);
  });

  it("takes an optional file that cannot be fetched as absent, but a host that is gone as gone", async () => {
    server.faults.push({ path: "tokenizer_config.json", fault: { kind: "reset", afterBytes: 0 } });
    expect((await folder("open/single/")).files.has("tokenizer.json")).toBe(true);
    server.faults.push({ path: "/config.json", skip: 1, fault: { kind: "reset", afterBytes: 0 } });
    await expect(folder("open/single/")).rejects.toThrow(NetworkError);
  });

  it("refuses a server without ranges", async () => {
    server.faults.push({ fault: { kind: "ignore-range" } });
    await expect(folder("open/single/")).rejects.toThrow(/ignores byte ranges/);
  });

  it("learns sizes by Content-Length where Content-Range is hidden", async () => {
    server.faults.push({ fault: { kind: "bare" } });
    const { opened } = await folder("open/single/");
    expect(opened.files).toContainEqual({ path: "model.safetensors", bytes: 200_000 });
  });
});
