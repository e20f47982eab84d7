import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { startModelServer } from "../scripts/model-server/model-server.ts";
import { folderModel, type ServedModel } from "../scripts/model-server/served-model.ts";
import { startPublishingHub } from "../scripts/model-server/publishing-hub.ts";
import type { Receipt } from "../src/api/receipt.ts";
import { withoutWeights } from "./altered-model.ts";
import { testBrowser } from "./fixtures.ts";
import { sha256 } from "./jobs.ts";

const TOKEN = "hf_of_this_test";

async function openHub() {
  const hub = await startPublishingHub({ accounts: { [TOKEN]: { name: "ada", orgs: [] } } });
  return { ...hub, [Symbol.asyncDispose]: hub.close };
}

const GOLDEN = join(import.meta.dirname, "fixtures/golden/source");

interface Outcome {
  readonly status: number;
  readonly stderr: string;
  /** The last line of the output, parsed. */
  readonly last: Record<string, unknown>;
}

/** Fontconfig without a single font: drawing text there ends Chromium. */
async function withoutFonts(): Promise<NodeJS.ProcessEnv> {
  const folder = await emptyFolder();
  const config = join(folder, "fonts.conf");
  await writeFile(config, `<?xml version="1.0"?><fontconfig><cachedir>${folder}</cachedir></fontconfig>`);
  return { ...process.env, FONTCONFIG_FILE: config };
}

async function compress(...args: string[]): Promise<Outcome> {
  return await compressIn({ ...process.env, ...(await testBrowser()) }, args);
}

async function compressIn(env: NodeJS.ProcessEnv, args: string[]): Promise<Outcome> {
  return await new Promise((resolve) => {
    execFile("node", ["scripts/compress.mjs", ...args, "--json"], { env }, (error, stdout, stderr) => {
      const lines = stdout.trim().split("\n");
      const status = typeof error?.code === "number" ? error.code : 0;
      resolve({ status, stderr, last: JSON.parse(lines.at(-1) ?? "") });
    });
  });
}

async function emptyFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "compress-"));
}

/** The sample without the weights of its last file: a job finishes two layers before it waits. */
async function sampleWithoutEnd(): Promise<ServedModel> {
  return withoutWeights(await folderModel("public/sample"), "model-00003-of-00003.safetensors");
}

/** More files than a browser downloads by itself. */
const EXTRA = Array.from({ length: 12 }, (_, index) => `NOTICE-${index}.txt`);

test("the command line writes a folder of many files, without fonts too, publishes it, tells of it, and does it again by its receipt", async () => {
  const folder = await emptyFolder();
  await cp(GOLDEN, folder, { recursive: true });
  for (const name of EXTRA) await writeFile(join(folder, name), name);
  const out = await emptyFolder();
  await using hub = await openHub();
  // In the browser that the command finds by itself, as a user's does.
  const env = { ...(await withoutFonts()), HF_TOKEN: TOKEN, HF_ENDPOINT: hub.url };
  const { status, stderr, last } = await compressIn(env, [folder, "--out", out, "--push", "ada/tiny"]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(last).toMatchObject({
    ok: true,
    peakGpuBytes: expect.any(Number),
    plannedGpuBytes: expect.any(Number),
    seconds: expect.any(Object),
  });
  const named = (last["files"] as { path: string }[]).map(({ path }) => path);
  const written = ["model.safetensors", "config.json", "recipe.yaml", ...EXTRA];
  expect(named).toEqual(expect.arrayContaining(written));
  expect((await readdir(out)).toSorted()).toEqual(named.toSorted());

  const pushed = hub.state.repositories.get("ada/tiny");
  expect(last).toMatchObject({ published: { repository: "ada/tiny", commit: pushed?.head } });
  expect([...(pushed?.files.keys() ?? [])].toSorted()).toEqual([".gitattributes", ...named].toSorted());

  const receipt = join(out, "receipt.json");
  const { files } = JSON.parse(await readFile(receipt, "utf8")) as Receipt;
  for (const { path, sha256: digest } of files)
    expect(sha256(await readFile(join(out, path))), path).toBe(digest);
  const again = await compress(folder, "--replay", receipt, "--out", await emptyFolder());
  expect(again).toMatchObject({ status: 0, last: { ok: true, replay: { equal: true, causes: [] } } });
});

test("a folder that is no model fails with the page's sentence", async () => {
  const folder = await emptyFolder();
  await writeFile(join(folder, "notes.txt"), "no model");
  const out = await emptyFolder();
  const { status, stderr, last } = await compress(folder, "--out", out);
  expect(status).toBe(1);
  expect(last).toMatchObject({ ok: false, error: { message: expect.stringContaining("config.json") } });
  expect(stderr).toBe(`${(last["error"] as { message: string }).message}\n`);
  expect(await readdir(out)).toEqual([]);
});

test("a second command on one folder is refused, and a signal ends the first with a line, to go on later", async () => {
  const out = await emptyFolder();
  const server = await startModelServer({ models: { "local/sample": { files: await sampleWithoutEnd() } } });
  const args = ["scripts/compress.mjs", `${server.filesUrl}/local/sample/`, "--out", out];
  const running = spawn("node", args, { env: { ...process.env, ...(await testBrowser()) } });
  const said: string[] = [];
  running.stderr.setEncoding("utf8").on("data", (text: string) => said.push(text));
  // Read to its end: a command whose output nobody reads any more ends.
  await new Promise<void>((resolve) => {
    running.stdout.setEncoding("utf8").on("data", (text: string) => /step [2-9]/.test(text) && resolve());
  });
  const { status, stderr } = await compress(GOLDEN, "--out", out);
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(`is writing ${out}.`) });
  const ended = once(running, "close");
  running.kill("SIGTERM");
  expect(await ended).toEqual([143, null]);
  expect(said.join("")).toBe(
    `Ended by SIGTERM. What was finished is kept in ${out}/.layerpress; the same command goes on from there.\n`,
  );
  expect(await readdir(join(out, ".layerpress"))).toEqual(["profile"]);
  await server.close();
});

test("a Parquet file of this machine is read by the page, the column that is named", async () => {
  const file = "src/calibrate/samples/fixtures/chats.parquet";
  const args = ["--recipe", "gptq-W8A16", "--calibration", file, "--column", "story"];
  const { status, last } = await compress("public/sample", "--out", await emptyFolder(), ...args);
  expect(status).toBe(1);
  const message = 'chats.parquet has no column "story". Its columns are messages, tools, body.';
  expect(last).toMatchObject({ ok: false, error: { name: "CalibrationError", message } });
});

test("a command line that makes no sense is told what is wrong with it", async () => {
  const { status, stderr, last } = await compress(GOLDEN, "--out", await emptyFolder(), "--recipee", "W4A16");
  expect(status).toBe(2);
  expect(stderr).toBe("There is no option --recipee. “npm run compress -- --help” lists all options.\n");
  expect(last).toMatchObject({ ok: false });
});
