// A model that is quantized already: what the page says of it, and its weights written back as plain ones.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";
import { compress, request, resultFile, UNSHOWN } from "./jobs.ts";
import { type ModelServer, startModelServer } from "../scripts/model-server/model-server.ts";
import { folderModel, memoryModel, type ServedModel } from "../scripts/model-server/served-model.ts";

const GOLDEN = join(import.meta.dirname, "fixtures/golden");
const WEIGHTS = "model.safetensors";

let server: ModelServer;
test.beforeAll(async () => {
  server = await startModelServer({
    models: {
      "golden/source": { files: await folderModel(join(GOLDEN, "source")) },
      "golden/kv-cache-fp8": { files: await folderModel(join(GOLDEN, "kv-cache-fp8")) },
    },
  });
});
test.afterAll(async () => await server.close());

/** Serves a model for as long as it is used. */
async function whileServed(files: ServedModel, use: (address: string) => Promise<void>): Promise<void> {
  const own = await startModelServer({ models: { "local/packed": { files } } });
  try {
    await use(`${own.filesUrl}/local/packed/`);
  } finally {
    await own.close();
  }
}

/** What a recipe makes of a model: its weights, its configuration and its card. */
async function results(page: Page, address: string, recipe: string, groupSize?: number) {
  const own = groupSize === undefined ? {} : { groupSize };
  const { jobId } = await compress(page, request(address, recipe, own));
  const [weights, config, card] = await Promise.all(
    [WEIGHTS, "config.json", "README.md"].map(async (path) => await resultFile(page, jobId, path)),
  );
  if (!weights || !config || !card) throw new Error("three files were asked for");
  const model = memoryModel({ [WEIGHTS]: weights, "config.json": config });
  return { model, tensors: tensorsOf(weights), config: configOf(config), card: card.toString("utf8") };
}

interface Entry {
  readonly dtype: string;
  readonly data_offsets: readonly [number, number];
}

/** The tensors of a file: dtype, and the first 16 hexadecimal digits of the SHA-256. */
function tensorsOf(file: Buffer): Record<string, string> {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, start)) as Record<string, Entry>;
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
  return Object.fromEntries(
    entries.map(([name, { dtype, data_offsets }]) => {
      const bytes = file.subarray(start + data_offsets[0], start + data_offsets[1]);
      return [name, `${dtype} ${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`];
    }),
  );
}

function configOf(file: Buffer): Record<string, unknown> {
  return JSON.parse(file.toString("utf8")) as Record<string, unknown>;
}

const golden = async (...path: string[]) => await readFile(join(GOLDEN, ...path));

const digests = JSON.parse((await golden("digests.json")).toString("utf8")) as {
  recipes: Record<string, { dequantized: Record<string, string> }>;
};

/** The source's tensors, the quantized ones as compressed-tensors dequantizes them. */
async function dequantized(recipe: string): Promise<Record<string, string>> {
  const modules = Object.entries(digests.recipes[recipe]?.dequantized ?? {});
  const weights = modules.map(([module, digest]) => [`${module}.weight`, `BF16 ${digest}`] as const);
  return { ...tensorsOf(await golden("source", WEIGHTS)), ...Object.fromEntries(weights) };
}

test("quantized models are written back as compressed-tensors dequantizes them", async ({ page }) => {
  await page.goto(UNSHOWN);
  for (const recipe of ["W4A16_ASYM", "NVFP4A16"]) {
    const { model } = await results(page, `${server.filesUrl}/golden/source/`, recipe);
    await whileServed(model, async (address) => {
      const { tensors, config, card } = await results(page, address, "UNQUANTIZED");
      expect(tensors).toEqual(await dequantized(recipe));
      expect(config).toEqual(configOf(await golden("source", "config.json")));
      expect(card).toContain("Dequantized from");
    });
  }
  // A folder of LLM Compressor is written back without the scales of its key-value cache.
  const plain = await results(page, `${server.filesUrl}/golden/kv-cache-fp8/`, "UNQUANTIZED");
  expect(plain.tensors).toEqual(await dequantized("FP8_DYNAMIC"));
  const { quantization_config: _, ...config } = configOf(await golden("kv-cache-fp8", "config.json"));
  expect(plain.config).toEqual(config);
});

test("the page shows schemes by module and offers to dequantize", async ({ page }) => {
  await page.goto("./");
  const { model } = await results(page, `${server.filesUrl}/golden/source/`, "W4A16", 64);
  await page.reload();
  await whileServed(model, async (address) => {
    await page.getByLabel("Model", { exact: true }).fill(address);
    await page.getByRole("button", { name: "Inspect" }).click();
    const panel = page.getByRole("region", { name: "Quantized already" });
    await expect(panel).toBeVisible();
    const rows = panel.getByRole("row", { name: /model\.layers\.\*\.self_attn\.q_proj/ });
    await expect(rows).toContainText("2 × W4A16-G64 group 64, pack-quantized");
    await expect(rows).toContainText("4.26");
    await panel.getByText("Kept as it was").click();
    await expect(panel.getByRole("row", { name: /lm_head\.weight/ })).toContainText("BF16");
    const card = page.getByRole("radio", { name: /^Dequantize/ });
    await expect(card).toBeChecked();
    await expect(page.getByRole("row", { name: "Dequantized 14 modules" })).toBeVisible();
    await page.getByRole("button", { name: "Start" }).click();
    await expect(page.getByRole("heading", { level: 1, name: /^Dequantized/ })).toBeVisible();
  });
});
