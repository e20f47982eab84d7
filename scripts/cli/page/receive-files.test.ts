import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { receive, type ReceivedFiles } from "./receive-files.ts";

let folder: string;
let received: ReceivedFiles;
let server: Server;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "received-"));
  received = new Map();
  server = createServer((asked, answer) => void receive({ folder, received }, asked, answer));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  server.close();
});

const OWN = { host: "layerpress.localhost", origin: "http://layerpress.localhost" };

/** Status of a request as a browser makes it. */
async function post(path: string, headers: Readonly<Record<string, string>>): Promise<number> {
  return (await answerTo(path, headers)).status;
}

async function answerTo(path: string, headers: Readonly<Record<string, string>>) {
  const { port } = server.address() as AddressInfo;
  const sent = request({ host: "127.0.0.1", port, path, method: "POST", headers, agent: false });
  sent.end("text");
  const [answer] = await once(sent, "response");
  return { status: answer.statusCode, text: await textOf(answer) };
}

it("writes what the page of the command sends, into folders too, and hashes it", async () => {
  expect(await post("/1_Pooling%2Fconfig.json", OWN)).toBe(204);
  expect(await readFile(join(folder, "1_Pooling/config.json"), "utf8")).toBe("text");
  expect([...received]).toEqual([
    ["1_Pooling/config.json", createHash("sha256").update("text").digest("hex")],
  ]);
});

it.each([
  ["another site", { ...OWN, origin: "https://example.org" }],
  ["another site whose name leads here", { host: "example.org", origin: "http://example.org" }],
  ["a page without an origin", { host: OWN.host, origin: "null" }],
  ["no page", { host: OWN.host }],
])("takes nothing from %s", async (_, headers) => {
  expect(await post("/config.json", headers)).toBe(403);
  expect(await readdir(folder)).toEqual([]);
});

it.each(["/..%2Fa", "/%", "/%ff", "/", "/a/../b", "/con"])("takes no file of the name %s", async (path) => {
  expect(await post(path, OWN)).toBe(400);
  expect(await readdir(folder)).toEqual([]);
});

it("answers in a sentence where a file cannot be written", async () => {
  await mkdir(join(folder, "receipt.json"));
  const { status, text } = await answerTo("/receipt.json", OWN);
  expect(status).toBe(507);
  expect(text).toMatch(/receipt\.json could not be made or opened: a folder lies where a file is needed/);
});
