// A job that is interrupted goes on, and ends with the same bytes.

import type { Page } from "@playwright/test";
import { withoutWeights } from "./altered-model.ts";
import { expect, test } from "./fixtures.ts";
import { compress, download, failureOf, request, sha256, tokenIds, UNSHOWN } from "./jobs.ts";
import { type ModelServer, startModelServer } from "../scripts/model-server/model-server.ts";
import { syntheticModel } from "../scripts/model-server/synthetic-model.ts";

test.use({ browserOptions: { profile: true } });

const SIZES = { hidden: 128, intermediate: 256, heads: 4, kvHeads: 2, vocab: 256, dtype: "BF16" } as const;
const IDS = tokenIds(4, 16, SIZES.vocab);
/** Less than a result of 2 MiB, and the model of twice as much that it is made from, take. */
const ROOM_BYTES = 1.5 * 1024 ** 2;

/** The second file begins in the second of three layers. */
const SECOND_FILE = "model-00002-of-00002.safetensors";

let server: ModelServer;
let releaseSecondFile: () => void;
test.beforeAll(async () => {
  const files = syntheticModel({ ...SIZES, layers: 3, shards: 2 });
  const released = new Promise<void>((resolve) => (releaseSecondFile = resolve));
  // The same model at two places: two jobs.
  server = await startModelServer({
    models: {
      "made/three": { files },
      "made/disturbed": { files: withoutWeights(files, SECOND_FILE, released) },
      "made/waiting": { files: withoutWeights(files, SECOND_FILE) },
    },
  });
});
test.afterAll(async () => await server.close());

/** Attention of three layers: every operation of a job is disturbed in compress.test. */
const gptq = (name: string) =>
  request(`${server.filesUrl}/made/${name}/`, "gptq-w4a16", {
    groupSize: 32,
    ignore: ["lm_head", "re:.*mlp.*"],
    ids: IDS,
  });

/** Starts a job without waiting for it, and resolves once it is at a step of this name, or at any. */
async function startUntil(page: Page, name: string, step: string | null): Promise<void> {
  await page.evaluate((asked) => {
    // The page is left in the middle, so nobody waits for the end.
    void globalThis.layerpress.compress(asked).catch(() => undefined);
  }, gptq(name));
  await page.waitForFunction((wanted) => {
    const progress = globalThis.layerpress.progress();
    return progress !== null && (wanted === null || progress.stepName === wanted);
  }, step);
}

/** Runs a job to its end, and tells the steps and the notices of its progress. */
async function compressLooking(page: Page, name: string): Promise<{ steps: string[]; notices: string[] }> {
  return await page.evaluate(async (asked) => {
    const steps = new Set<string>();
    const notices = new Set<string>();
    const job = globalThis.layerpress.compress(asked);
    const timer = setInterval(() => {
      const { stepName, notice } = globalThis.layerpress.progress() ?? {};
      if (stepName) steps.add(stepName);
      if (notice) notices.add(notice);
    }, 20);
    await job.finally(() => clearInterval(timer));
    return { steps: [...steps], notices: [...notices] };
  }, gptq(name));
}

// The device that is at work at the worker's 20th submit dies: a layer takes more, however few are sent at once.
const LOSE_GPU = `
  const { requestDevice } = GPUAdapter.prototype;
  let submits = 0;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await requestDevice.apply(this, args);
    const submit = device.queue.submit.bind(device.queue);
    device.queue.submit = (commands) => {
      submit(commands);
      if (++submits === 20) device.destroy();
    };
    return device;
  };`;

test("neither a reload in the second of three layers nor a GPU that is lost after it changes anything", async ({
  page,
  context,
}) => {
  const digest = async () => sha256(await download(page, "model.safetensors"));
  await page.goto(UNSHOWN);
  await compress(page, gptq("three"));
  const undisturbed = await digest();

  await page.reload();
  await startUntil(page, "disturbed", "model.layers.1");
  await context.route("**/assets/compressor-*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${LOSE_GPU}\n${await response.text()}` });
  });
  await page.reload();
  releaseSecondFile();
  const { steps, notices } = await compressLooking(page, "disturbed");
  expect(steps).not.toContain("model.layers.0");
  expect(notices.join("\n")).toMatch(/The GPU was lost.*Going on from .* with a new device\./);
  expect(await digest()).toBe(undisturbed);
});

test("a second tab is told that a job is running", async ({ page, context }) => {
  await page.goto(UNSHOWN);
  await startUntil(page, "waiting", null);
  const other = await context.newPage();
  await other.goto(UNSHOWN);
  expect(await failureOf(other, gptq("disturbed"))).toMatch(/another tab/i);
});

test("a full disk ends a job in a sentence, and it goes on when there is room", async ({ page, context }) => {
  await page.goto(UNSHOWN);
  const origin = new URL(page.url()).origin;
  const session = await context.newCDPSession(page);
  const large = syntheticModel({ ...SIZES, hidden: 256, intermediate: 1024, layers: 2 });
  const other = await startModelServer({ models: { "made/large": { files: large } } });
  const asked = request(`${other.filesUrl}/made/large/`, "W8A16");
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: ROOM_BYTES });
  expect(await failureOf(page, asked)).toMatch(/room|full|storage|space/i);
  await session.send("Storage.overrideQuotaForOrigin", { origin });
  await page.reload();
  await compress(page, asked);
  expect((await download(page, "model.safetensors")).byteLength).toBeGreaterThan(ROOM_BYTES);
  await other.close();
});
