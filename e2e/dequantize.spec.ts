// A model that is quantized already: what the page says of it, and its weights written back as plain ones.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "./fixtures.ts";
import { startModelServer } from "../scripts/model-server/model-server.ts";
import { folderModel } from "../scripts/model-server/served-model.ts";

const GOLDEN = join(import.meta.dirname, "fixtures/golden");

async function compress(source: string, ...args: string[]): Promise<string> {
  const out = await mkdtemp(join(tmpdir(), "dequantize-"));
  await new Promise<void>((resolve, reject) => {
    execFile("node", ["scripts/compress.mjs", source, "--out", out, ...args], (error, _, stderr) =>
      error ? reject(new Error(stderr, { cause: error })) : resolve(),
    );
  });
  return out;
}

interface Entry {
  readonly dtype: string;
  readonly data_offsets: readonly [number, number];
}

/** The tensors of a folder: dtype, and the first 16 hexadecimal digits of the SHA-256. */
async function tensorsOf(folder: string): Promise<Record<string, string>> {
  const file = await readFile(join(folder, "model.safetensors"));
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

async function configOf(folder: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
}

const digests = JSON.parse(await readFile(join(GOLDEN, "digests.json"), "utf8")) as {
  recipes: Record<string, { dequantized: Record<string, string> }>;
};

/** The source's tensors, the quantized ones as compressed-tensors dequantizes them. */
async function dequantized(recipe: string): Promise<Record<string, string>> {
  const modules = Object.entries(digests.recipes[recipe]?.dequantized ?? {});
  const weights = modules.map(([module, digest]) => [`${module}.weight`, `BF16 ${digest}`] as const);
  return { ...(await tensorsOf(join(GOLDEN, "source"))), ...Object.fromEntries(weights) };
}

for (const recipe of ["W4A16_ASYM", "W8A8", "NVFP4A16"]) {
  test(`${recipe} is written back as compressed-tensors dequantizes it`, async () => {
    const quantized = await compress(join(GOLDEN, "source"), "--recipe", recipe);
    const plain = await compress(quantized, "--recipe", "UNQUANTIZED");
    expect(await tensorsOf(plain)).toEqual(await dequantized(recipe));
    expect(await configOf(plain)).toEqual(await configOf(join(GOLDEN, "source")));
    expect(await readFile(join(plain, "README.md"), "utf8")).toContain("Dequantized from");
  });
}

test("a folder of LLM Compressor is written back, without the scales of its key-value cache", async () => {
  const folder = join(GOLDEN, "kv-cache-fp8");
  const plain = await compress(folder, "--recipe", "UNQUANTIZED");
  expect(await tensorsOf(plain)).toEqual(await dequantized("FP8_DYNAMIC"));
  const { quantization_config: _, ...config } = await configOf(folder);
  expect(await configOf(plain)).toEqual(config);
});

test("the page shows schemes by module and offers to dequantize", async ({ page }) => {
  const quantized = await compress(join(GOLDEN, "source"), "--recipe", "W4A16", "--group-size", "64");
  const server = await startModelServer({
    models: { "local/packed": { files: await folderModel(quantized) } },
  });
  try {
    await page.goto("./");
    await page.getByLabel("Model", { exact: true }).fill(`${server.filesUrl}/local/packed/`);
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
  } finally {
    await server.close();
  }
});
