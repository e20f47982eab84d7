// Every tensor that the page makes of the golden source equals the one that LLM Compressor makes of it.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import type { CompressRequest } from "../src/ui/script-door.ts";
import { expect, test } from "./fixtures.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { folderModel } from "./served-model.ts";

interface Golden {
  /** First 16 hexadecimal digits of each tensor's SHA-256. */
  readonly tensors: Readonly<Record<string, string>>;
  readonly quantization_config: Readonly<Record<string, unknown>>;
}

const FOLDER = join(import.meta.dirname, "fixtures/golden");
const GOLDEN: { recipes: Record<string, Golden> } = JSON.parse(
  await readFile(join(FOLDER, "digests.json"), "utf8"),
);
const SOURCE = tensorDigests(await readFile(join(FOLDER, "source/model.safetensors")));

let server: ModelServer;
test.beforeAll(async () => {
  const files = await folderModel(join(FOLDER, "source"));
  server = await startModelServer({ models: { "test/golden": { files, redirect: true } } });
});
test.afterAll(async () => {
  await server.close();
});

function requestOf(source: string, recipe: string): CompressRequest {
  return {
    source,
    token: null,
    recipe: {
      text: recipe,
      groupSize: null,
      ignore: null,
      observer: null,
      dampeningFrac: null,
      actorder: null,
    },
    calibration: {
      file: null,
      dataset: null,
      samples: null,
      maxSeqLength: null,
      seed: null,
      shuffle: true,
      propagateError: true,
      allExperts: true,
      minExpertTokens: null,
      hiddenStates: "F32",
    },
    gpuBudgetBytes: null,
    keepSource: false,
  };
}

async function saved(page: Page, path: string): Promise<Buffer> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.evaluate(async (name) => await globalThis.layerpress.save(name), path),
  ]);
  return await readFile(await download.path());
}

function tensorDigests(file: Buffer): Record<string, string> {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    file.toString("utf8", 8, start),
  );
  const tensors = Object.entries(header).filter(([name]) => name !== "__metadata__");
  return Object.fromEntries(
    tensors.map(
      ([
        name,
        {
          data_offsets: [from, to],
        },
      ]) => {
        const bytes = file.subarray(start + from, start + to);
        return [name, createHash("sha256").update(bytes).digest("hex").slice(0, 16)];
      },
    ),
  );
}

/** The anchor's tensors, and the source's own where nothing was quantized. */
function expectedDigests(quantized: Golden["tensors"]): Record<string, string> {
  const copied = Object.entries(SOURCE).filter(([name]) => !(`${name}_packed` in quantized));
  return { ...Object.fromEntries(copied), ...quantized };
}

for (const recipe of ["W4A16", "W8A16", "W8A8", "FP8_DYNAMIC"]) {
  test(`${recipe} from another origin equals LLM Compressor's, tensor by tensor`, async ({ page }) => {
    await page.goto("./");
    const request = requestOf(`${server.filesUrl}/test/golden`, recipe);
    const { result, fit } = await page.evaluate(
      async (asked) => await globalThis.layerpress.compress(asked),
      request,
    );
    const digests = tensorDigests(await saved(page, "model.safetensors"));
    const golden = GOLDEN.recipes[recipe];
    expect(digests).toEqual(expectedDigests(golden?.tensors ?? {}));
    const config = JSON.parse((await saved(page, "config.json")).toString("utf8"));
    expect(config.quantization_config).toMatchObject({
      quant_method: "compressed-tensors",
      format: golden?.quantization_config["format"],
      ignore: golden?.quantization_config["ignore"],
    });
    expect(result.peakGpuBytes).toBeLessThanOrEqual(fit.gpuBudgetBytes);
    expect(server.log.some(({ origin, status }) => origin === "cdn" && status === 206)).toBe(true);
  });
}
