import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";
import { brokenWords } from "./broken-words.ts";
import { expect, test } from "./fixtures.ts";
import { startModelServer } from "../scripts/model-server/model-server.ts";
import { folderModel, memoryModel } from "../scripts/model-server/served-model.ts";

test.use({ browserOptions: { profile: true } });

/** Perplexity of the sample on the first eight lines of its evaluation.txt, as transformers 5.17 computes it (float32). */
const BY_TRANSFORMERS = 1.464679694779109;
const LINES = 8;

/** One layer that is quantized is tried and measured as four are. */
const ONE_LAYER = "ignore=lm_head,re:.*layers.[123].*";

/** The sample with another file, for as long as it is used. */
async function serveSample(own: Record<string, string>) {
  const files = new Map([...(await folderModel("public/sample")), ...memoryModel(own)]);
  const server = await startModelServer({ models: { "local/sample": { files } } });
  return { address: `${server.filesUrl}/local/sample/`, [Symbol.asyncDispose]: server.close };
}

async function inspect(page: Page, address: string, search = ""): Promise<void> {
  await page.goto(`./${search}`);
  await page.getByLabel("Model", { exact: true }).fill(address);
  await page.getByRole("button", { name: "Inspect" }).click();
}

test("a finished result generates text, tells what it lost, and can be stopped", async ({ page }) => {
  const lines = (await readFile("public/sample/evaluation.txt", "utf8")).split("\n").slice(0, LINES);
  await using sample = await serveSample({ "evaluation.txt": lines.join("\n") });
  const fetched: string[] = [];
  page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  await inspect(page, sample.address);
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
  // The engine is of no interest to those who only compress.
  expect(fetched.filter((path) => /evaluator|ort/.test(path))).toEqual([]);

  await page.getByText("How to generate").click();
  await page.getByLabel("The original beside it").check();
  await page.getByRole("button", { name: "Generate" }).click();
  const answer = page.getByRole("article", { name: "Quantized answer" });
  await expect(answer).toContainText("who lived");
  const reference = JSON.parse(await readFile("public/sample/reference.json", "utf8"));
  const continued = String(reference.greedy_80_tokens).split("Once upon a time, there was")[1] ?? "";
  await expect(page.getByRole("article", { name: "Original answer" })).toContainText(continued.trim());

  await page.getByRole("button", { name: "Measure the loss" }).click();
  const row = page.getByRole("row", { name: /^Perplexity/ });
  await expect(row).toBeVisible();
  const [own = 0, original = 0] = (await row.getByRole("cell").allTextContents()).map(Number);
  expect(Math.abs(original / BY_TRANSFORMERS - 1)).toBeLessThan(1e-3);
  expect(Math.abs(own / original - 1)).toBeLessThan(0.01);
  await expect(page.getByText(/1114 tokens of evaluation.txt in 8 windows/)).toBeVisible();

  // A long generation can be stopped.
  await page.getByLabel("The original beside it").uncheck();
  await page.getByLabel("Tokens at most").fill("1500");
  await page.getByRole("button", { name: "Generate" }).click();
  const stop = page.getByRole("button", { name: "Stop" });
  await expect(stop).toBeEnabled();
  await expect(answer).toContainText("who lived");
  await stop.click();
  await expect(answer).toContainText(/tokens, .* per second on the processor/);
  await expect(page.getByRole("button", { name: "Generate" })).toBeEnabled();
});

/** The text of a file of the one job's result. */
async function resultText(page: Page, path: string): Promise<string> {
  return await page.evaluate(async (name) => {
    const root = await navigator.storage.getDirectory();
    const jobs = await (await root.getDirectoryHandle("layerpress")).getDirectoryHandle("jobs");
    for await (const job of jobs.values()) {
      const output = await (job as FileSystemDirectoryHandle).getDirectoryHandle("output");
      return await (await (await output.getFileHandle(name)).getFile()).text();
    }
    return "";
  }, path);
}

async function compressSample(page: Page, scheme: string | null): Promise<void> {
  await page.getByRole("button", { name: "Try the sample model" }).click();
  if (scheme) await page.getByRole("radio", { name: scheme }).check();
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
}

async function measure(page: Page): Promise<void> {
  const text = { name: "story.txt", mimeType: "text/plain", buffer: Buffer.from(STORY) };
  await page.getByLabel("Text to measure on").setInputFiles(text);
  await page.getByRole("button", { name: "Measure the loss" }).click();
  await expect(page.getByText(/tokens of story.txt in 1 window\./)).toBeVisible();
}

const STORY = "Once upon a time, there was a stubborn shepherd named Otto who lived near the river.";

test("what was measured is in the result's own files and is compared in a later visit", async ({ page }) => {
  await page.addInitScript(() => {
    const chosen = async () =>
      await (await navigator.storage.getDirectory()).getDirectoryHandle("chosen", { create: true });
    Object.assign(globalThis, { showDirectoryPicker: chosen });
  });
  await page.goto(`./?recipe=w4a16&${ONE_LAYER}`);
  await compressSample(page, null);
  await measure(page);
  await expect(
    page.getByText(/are in the result’s quantization-report.json and README.md now/),
  ).toBeVisible();
  const report = JSON.parse(await resultText(page, "quantization-report.json"));
  expect(report.quality).toMatchObject({ text: "story.txt", windows: 1 });
  expect(report.quality.layers).toHaveLength(4);
  expect(await resultText(page, "README.md")).toContain("## Quality");

  // A result of earlier is opened and measured again; both files are saved as they are now.
  await page.reload();
  await page.getByRole("button", { name: /^Storage/ }).click();
  await page.getByRole("button", { name: /^Open/ }).click();
  await expect(page.getByText(/tokens of story.txt in 1 window\./)).toBeVisible();
  await page.getByRole("button", { name: /Save to a folder/ }).click();
  await expect(page.getByText(/^Saved as/)).toBeVisible();

  await page.getByRole("button", { name: "Compress another" }).click();
  await compressSample(page, "W8A16");
  await measure(page);
  const rows = page.getByRole("table", { name: "Recipes that were measured" }).getByRole("row");
  await expect(rows).toHaveCount(3);
  await expect(page.getByText(/^(Take|Each of them)/)).toBeVisible();
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await brokenWords(page)).toEqual([]);
  await page.setViewportSize({ width: 1280, height: 860 });

  await page.getByRole("button", { name: /^Storage/ }).click();
  await page.getByRole("button", { name: /Delete measurements of/ }).click();
  await expect(page.getByRole("heading", { name: "Measured recipes" })).toBeHidden();
});

test("a model that is quantized already is tried as it is, chat messages by its own template", async ({
  page,
}) => {
  const read = async (path: string) => JSON.parse(await readFile(`public/sample/${path}`, "utf8"));
  // Nothing of the sample is quantized: the group targets a module that it does not have.
  const weights = { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 128 };
  const config_groups = { group_0: { targets: ["elsewhere"], weights, format: "pack-quantized" } };
  const quantization_config = { quant_method: "compressed-tensors", config_groups, ignore: [] };
  const chat_template =
    "{{ bos_token }}{% for message in messages %}{{ message.content }}, there was{% endfor %}";
  await using sample = await serveSample({
    "config.json": JSON.stringify({ ...(await read("config.json")), quantization_config }),
    "tokenizer_config.json": JSON.stringify({ ...(await read("tokenizer_config.json")), chat_template }),
  });
  await inspect(page, sample.address);
  await expect(page.getByRole("heading", { name: "Try this model as it is" })).toBeVisible();
  await page.getByText("How to generate").click();
  // However many lines their labels take.
  const tops = await page
    .locator(".try-fields input")
    .evaluateAll((inputs) => inputs.map((input) => input.getBoundingClientRect().top));
  expect(new Set(tops).size).toBe(1);
  await page.getByLabel("Tokens at most").fill("16");
  const answer = page.getByRole("article", { name: "Quantized answer" }).locator(".answer-text");
  const ask = async (prompt: string) => {
    await page.getByLabel("Prompt").fill(prompt);
    await page.getByRole("button", { name: "Generate" }).click();
    const stop = page.getByRole("button", { name: "Stop" });
    await expect(stop).toBeEnabled();
    await expect(stop).toBeDisabled();
    return await answer.textContent();
  };
  const plain = await ask("Once upon a time, there was");
  expect(plain).toContain("stubborn shepherd");
  await page.getByLabel("As a chat message").check();
  // The template adds what the message lacks, and the first token.
  expect(await ask("Once upon a time")).toBe(plain);
  await page.getByLabel("As a chat message").uncheck();
  expect(await ask("Once upon a time")).not.toBe(plain);
});
