// Every tensor that the page makes of the golden source equals the one that LLM Compressor makes of it.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "./fixtures.ts";
import { compress, download, request, UNSHOWN } from "./jobs.ts";
import { type ModelServer, startModelServer } from "../scripts/model-server/model-server.ts";
import { folderModel } from "../scripts/model-server/served-model.ts";

test.use({ browserOptions: { profile: true } });

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

/**
 * Where our quantization_config may differ from the anchor's: the release whose format is written, not the one that the
 * digests were made with. No field is left out.
 */
const OWN_FIELDS = { version: "0.18.0" };

/** What LLM Compressor writes for a recipe of a kv_cache_scheme and nothing else. */
const CACHE_ALONE = {
  config_groups: {},
  format: "dense",
  global_compression_ratio: null,
  ignore: [],
  kv_cache_scheme: {
    actorder: null,
    block_structure: null,
    dynamic: false,
    group_size: null,
    num_bits: 8,
    observer: "static_minmax",
    observer_kwargs: {},
    scale_dtype: null,
    strategy: "tensor",
    symmetric: true,
    type: "float",
    zp_dtype: null,
  },
  quant_method: "compressed-tensors",
  quantization_status: "compressed",
  sparsity_config: {},
  transform_config: {},
  ...OWN_FIELDS,
};

let server: ModelServer;
test.beforeAll(async () => {
  const files = await folderModel(join(FOLDER, "source"));
  server = await startModelServer({ models: { "test/golden": { files, redirect: true } } });
});
test.afterAll(async () => {
  await server.close();
});

const asked = (recipe: string, ids?: readonly (readonly number[])[]) =>
  request(`${server.filesUrl}/test/golden`, recipe, { gpuBudgetBytes: null, ...(ids ? { ids } : {}) });

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

test("results of another origin are LLM Compressor's, tensor by tensor", async ({ page }) => {
  await page.goto(UNSHOWN);
  for (const recipe of ["W4A16", "FP8_DYNAMIC"]) {
    const { peakGpuBytes, gpuBudgetBytes } = await compress(page, asked(recipe));
    const golden = GOLDEN.recipes[recipe];
    const digests = tensorDigests(await download(page, "model.safetensors"));
    expect(digests, recipe).toEqual(expectedDigests(golden?.tensors ?? {}));
    const config = JSON.parse((await download(page, "config.json")).toString("utf8"));
    expect(config.quantization_config).toEqual({ ...golden?.quantization_config, ...OWN_FIELDS });
    expect(peakGpuBytes).toBeLessThanOrEqual(gpuBudgetBytes);
  }
  expect(server.log.some(({ origin, status }) => origin === "cdn" && status === 206)).toBe(true);
});

test("a recipe for the key-value cache alone measures it and leaves every weight as it is", async ({
  page,
}) => {
  const { input_ids, scales }: CalibratedFixture = JSON.parse(
    await readFile(join(FOLDER, "calibrated.json"), "utf8"),
  );
  const scheme = "{num_bits: 8, type: float, strategy: tensor, dynamic: false, observer: static_minmax}";
  const yaml = `s_stage: {q_modifiers: {QuantizationModifier: {kv_cache_scheme: ${scheme}}}}`;
  await page.goto(UNSHOWN);
  const { name } = await compress(page, asked(yaml, input_ids));
  expect(name).toBe("golden-KV-FP8");
  const model = await download(page, "model.safetensors");
  const own = Object.entries(tensorDigests(model)).filter(([tensor]) => !/\.[kv]_scale$/.test(tensor));
  expect(Object.fromEntries(own)).toEqual(SOURCE);
  for (const [tensor, scale] of Object.entries(scales["kv-cache-alone"])) {
    // Our activations are float32 where the anchor's are bfloat16: two steps of it.
    expect(Math.abs(bfloat16(model, tensor) / scale - 1)).toBeLessThan(2 ** -6);
  }
  const config = JSON.parse((await download(page, "config.json")).toString("utf8"));
  expect(config.quantization_config).toEqual(CACHE_ALONE);
});

interface CalibratedFixture {
  readonly input_ids: readonly (readonly number[])[];
  readonly scales: { readonly "kv-cache-alone": Readonly<Record<string, number>> };
}

/** The first value of a tensor. */
function bfloat16(file: Buffer, tensor: string): number {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    file.toString("utf8", 8, start),
  );
  const [from = 0] = header[tensor]?.data_offsets ?? [];
  return new Float32Array(Uint32Array.of(file.readUInt16LE(start + from) << 16).buffer)[0] ?? Number.NaN;
}
