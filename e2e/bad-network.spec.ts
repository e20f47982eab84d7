// A server that fails in the middle of a job: what passes is waited for, what does not is said, and nothing is fetched twice.

import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";
import type { Fault } from "../scripts/model-server/faults.ts";
import { compress, download, failureOf, request, sha256, UNSHOWN } from "./jobs.ts";
import {
  type LoggedRequest,
  type ModelServer,
  startModelServer,
} from "../scripts/model-server/model-server.ts";
import { syntheticModel } from "../scripts/model-server/synthetic-model.ts";

test.use({ browserOptions: { profile: true } });

const SIZES = { hidden: 128, intermediate: 256, heads: 4, kvHeads: 2, vocab: 256, dtype: "BF16" } as const;
const WEIGHTS = "model.safetensors";
const LAST_SHARD = "model-00004-of-00004.safetensors";

let server: ModelServer;
test.beforeAll(async () => {
  const single = { files: syntheticModel({ ...SIZES, layers: 2 }) };
  const halved = { files: syntheticModel({ ...SIZES, layers: 2, shards: 2 }) };
  const sharded = { files: syntheticModel({ ...SIZES, layers: 6, shards: 4 }) };
  server = await startModelServer({
    models: {
      "made/steady": single,
      "made/halved": halved,
      "made/shaky": halved,
      "made/changing": single,
      "made/signed": single,
      "made/whole": sharded,
      "made/cut": sharded,
      "made/late": sharded,
    },
  });
});
test.afterEach(() => {
  server.faults.length = 0;
});
test.afterAll(async () => await server.close());

const asked = (name: string) => request(`${server.filesUrl}/made/${name}/`, "W8A16");

/** Requests for the weights of a model, in order. */
const requestsOf = (name: string) =>
  server.log.filter(({ path }) => path.includes(`/made/${name}/`) && path.includes(".safetensors"));

/** Headers are read by shorter requests than these, and verification samples less. */
const HEADER_BYTES = 256 * 1024;
const isDownload = ({ path, range }: LoggedRequest) =>
  path.endsWith(".safetensors") && Number(/^bytes=0-(\d+)$/.exec(range ?? "")?.[1] ?? 0) > HEADER_BYTES;

/** How many requests that a fault rule for a file of weights meets come before its first download. */
function requestsBeforeDownload(name: string, file: string): number {
  const all = requestsOf(name).filter(({ path }) => path.includes(file));
  const largest = Math.max(...all.map(({ bytes }) => bytes));
  return all.findIndex(({ bytes }) => bytes === largest);
}

test("a busy server and broken bodies are waited for, and end in the same bytes", async ({ page }) => {
  await page.goto(UNSHOWN);
  await compress(page, asked("halved"));
  const undisturbed = sha256(await download(page, WEIGHTS));
  const busy = { headers: { "retry-after": "1", "access-control-expose-headers": "retry-after" } };
  // Waits of one request double: two requests, side by side, are refused and then broken off.
  const passing: Record<string, readonly Fault[]> = {
    "model-00001-of-00002.safetensors": [
      { kind: "status", status: 429, ...busy },
      { kind: "short", bytes: 1000 },
    ],
    "model-00002-of-00002.safetensors": [
      { kind: "status", status: 503, ...busy },
      { kind: "reset", afterBytes: 1000 },
    ],
  };
  for (const [file, faults] of Object.entries(passing)) {
    const skip = requestsBeforeDownload("halved", file);
    for (const fault of faults) server.faults.push({ fault, path: `/made/shaky/${file}`, times: 1, skip });
  }
  await page.reload();
  await compress(page, asked("shaky"));
  expect(sha256(await download(page, WEIGHTS))).toBe(undisturbed);
  expect(requestsOf("shaky").map(({ status }) => status)).toEqual(expect.arrayContaining([429, 503]));
  expect(server.faults.map(({ times }) => times)).toEqual([0, 0, 0, 0]);
});

test("a file that changes, and a server that stops giving ranges, end a job that can go on later", async ({
  page,
}) => {
  await page.goto(UNSHOWN);
  await compress(page, asked("steady"));
  const skip = requestsBeforeDownload("steady", WEIGHTS);
  const path = `/made/changing/${WEIGHTS}`;
  const lasting: readonly (readonly [Fault, RegExp])[] = [
    [{ kind: "etag", etag: '"another"' }, /no longer the file that was opened: its ETag has changed/],
    [{ kind: "ignore-range" }, /ignores byte ranges: it answers 200 with all of model\.safetensors/],
    [{ kind: "status", status: 403 }, /refuses model\.safetensors \(403\)/],
  ];
  for (const [fault, says] of lasting) {
    server.faults.splice(0, server.faults.length, { fault, path, skip });
    expect(await failureOf(page, asked("changing"))).toMatch(says);
  }
  server.faults.length = 0;
  await compress(page, asked("changing"));
});

/** Text of every small file that the origin keeps in OPFS, and every string in its databases. */
async function keptText(page: Page): Promise<string> {
  return await page.evaluate(async () => {
    const texts: string[] = [];
    const visit = async (folder: FileSystemDirectoryHandle): Promise<void> => {
      for await (const entry of folder.values()) {
        if (entry instanceof FileSystemDirectoryHandle) await visit(entry);
        else if (!entry.name.endsWith(".safetensors")) texts.push(await (await entry.getFile()).text());
      }
    };
    await visit(await navigator.storage.getDirectory());
    for (const { name = "" } of await indexedDB.databases()) {
      const opening = indexedDB.open(name);
      const database = await new Promise<IDBDatabase>((resolve, reject) => {
        opening.addEventListener("success", () => resolve(opening.result));
        opening.addEventListener("error", () => reject(new Error(name)));
      });
      for (const store of database.objectStoreNames) {
        const objects = database.transaction(store).objectStore(store);
        for (const asking of [objects.getAllKeys(), objects.getAll()]) {
          await new Promise((resolve) => asking.addEventListener("success", resolve));
          texts.push(JSON.stringify(asking.result));
        }
      }
      database.close();
    }
    return texts.join("\n");
  });
}

test("a signature in an address is kept nowhere", async ({ page }) => {
  await page.goto(UNSHOWN);
  const address = `${server.filesUrl}/made/signed/`;
  await compress(page, {
    ...request(`${address}?X-Amz-Signature=hush-hush`, "W8A16"),
    keepSource: true,
  });
  const kept = await keptText(page);
  expect(kept).toContain(address);
  expect(kept).toContain('"W8A16"');
  expect(kept).not.toContain("hush");
});

/** Starts a job, leaves the page once `ready` holds there, and tells how many requests the server had seen by then. */
async function leaveWhen(page: Page, name: string, ready: (page: Page) => Promise<unknown>): Promise<number> {
  await page.evaluate((wanted) => {
    void globalThis.layerpress.compress(wanted).catch(() => undefined);
  }, asked(name));
  await ready(page);
  await page.reload();
  server.faults.length = 0;
  return requestsOf(name).length;
}

/** Waits until so many bytes have come, or are stored. */
async function untilSource(page: Page, what: "downloadedBytes" | "storedBytes", least: number) {
  await page.waitForFunction(
    ([name, bytes]) => (globalThis.layerpress.progress()?.source[name] ?? 0) >= bytes,
    [what, least] as const,
  );
}

test("a reload while a model is downloaded, or between its layers, changes nothing and fetches nothing twice", async ({
  page,
}) => {
  await page.goto("./");
  await compress(page, asked("whole"));
  const undisturbed = sha256(await download(page, WEIGHTS));
  const sizes = requestsOf("whole").filter(isDownload);
  expect(new Set(sizes.map(({ path }) => path)).size).toBe(4);

  // The first file hangs after its header was read: no layer begins, while the other files arrive.
  const first = "/made/cut/model-00001";
  const before = requestsOf("whole").filter(({ path }) => path.includes("model-00001"));
  server.faults.push({
    fault: { kind: "stall", afterBytes: 1000 },
    path: first,
    skip: before.findIndex(isDownload),
  });
  await page.reload();
  const stored = sizes.filter(({ path }) => !path.includes("model-00001"));
  const storedBytes = stored.reduce((sum, { bytes }) => sum + bytes, 0);
  const seen = await leaveWhen(page, "cut", async () => {
    await untilSource(page, "downloadedBytes", storedBytes);
    // What comes while a job reads is written ten seconds later, or when it pauses.
    await page.getByRole("button", { name: "Pause" }).click();
    await untilSource(page, "storedBytes", storedBytes);
  });
  await compress(page, asked("cut"));
  const again = requestsOf("cut").slice(seen).filter(isDownload);
  expect(again.map(({ path }) => path)).toEqual(["/made/cut/model-00001-of-00004.safetensors"]);
  expect(sha256(await download(page, WEIGHTS))).toBe(undisturbed);

  // The last file hangs: the layers before it are finished.
  const ofLast = requestsOf("whole").filter(({ path }) => path.includes(LAST_SHARD));
  server.faults.push({
    fault: { kind: "stall", afterBytes: 1000 },
    path: `/made/late/${LAST_SHARD}`,
    skip: ofLast.findIndex(isDownload),
  });
  await page.reload();
  const until = await leaveWhen(
    page,
    "late",
    async () => await page.waitForFunction(() => (globalThis.layerpress.progress()?.step ?? 0) >= 5),
  );
  await compress(page, asked("late"));
  const late = requestsOf("late").slice(until).filter(isDownload);
  expect(late.map(({ path }) => path)).toContain(`/made/late/${LAST_SHARD}`);
  expect(late.map(({ path }) => path)).not.toContain("/made/late/model-00001-of-00004.safetensors");
  expect(sha256(await download(page, WEIGHTS))).toBe(undisturbed);
});
