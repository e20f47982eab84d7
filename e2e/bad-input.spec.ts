// What comes from strangers and networks ends in a sentence on the page, before anything is lost.

import { expect, test } from "./fixtures.ts";
import { failureOf, request } from "./jobs.ts";
import { type ModelServer, startModelServer } from "../scripts/model-server/model-server.ts";
import { memoryModel, type ServedModel } from "../scripts/model-server/served-model.ts";
import type { Fault } from "../scripts/model-server/faults.ts";
import { syntheticModel } from "../scripts/model-server/synthetic-model.ts";

const SIZES = { hidden: 64, intermediate: 128, heads: 4, kvHeads: 2, vocab: 64, dtype: "BF16" } as const;
const CONFIG = JSON.stringify({ architectures: ["LlamaForCausalLM"], model_type: "llama" });

/** A safetensors file with this header and so many bytes of data. */
function safetensors(header: string, dataBytes = 64): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.byteLength + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.byteLength), true);
  bytes.set(text, 8);
  return bytes;
}

const tensor = (own: object) =>
  JSON.stringify({ "a.weight": { dtype: "BF16", shape: [4, 8], data_offsets: [0, 64], ...own } });
const hostile = (bytes: Uint8Array): ServedModel =>
  memoryModel({ "config.json": CONFIG, "model.safetensors": bytes });
const lyingLength = safetensors(tensor({}));
new DataView(lyingLength.buffer).setBigUint64(0, 1n << 40n, true);

const HOSTILE: Readonly<Record<string, { readonly files: ServedModel; readonly says: RegExp }>> = {
  "a header that is longer than the file": {
    files: hostile(lyingLength),
    says: /declares a header of 1099511627776 bytes; the format allows 100000000/,
  },
  "offsets outside of the file": {
    files: hostile(safetensors(tensor({ shape: [4, 80], data_offsets: [0, 640] }))),
    says: /tensor "a\.weight" ends at byte \d+, but the file has \d+/,
  },
  "a shape that does not fill its bytes": {
    files: hostile(safetensors(tensor({ shape: [4, 9] }))),
    says: /tensor "a\.weight" spans 64 bytes, but \[4, 9\] of BF16 takes 72/,
  },
  "an unknown dtype": {
    files: hostile(safetensors(tensor({ dtype: "BF17" }))),
    says: /tensor "a\.weight" has the unknown dtype "BF17"/,
  },
  "an index that names a path outside": {
    files: memoryModel({
      "config.json": CONFIG,
      "model.safetensors.index.json": JSON.stringify({ weight_map: { a: "../evil.safetensors" } }),
    }),
    says: /"\.\.\/evil\.safetensors", which is not the name of a file in this folder/,
  },
  "an index that names a missing shard": {
    files: memoryModel({
      "config.json": CONFIG,
      "model.safetensors.index.json": JSON.stringify({ weight_map: { a: "model-1.safetensors" } }),
    }),
    says: /does not have, or does not give: model-1\.safetensors/,
  },
};

const FAULTS: Readonly<Record<string, { readonly fault: Fault; readonly says: RegExp }>> = {
  "401": { fault: { kind: "status", status: 401 }, says: /refuses config\.json \(401\): it needs a login/ },
  "403": { fault: { kind: "status", status: 403 }, says: /refuses config\.json \(403\)/ },
  "404": { fault: { kind: "status", status: 404 }, says: /has no config\.json at this address \(404\)/ },
  "no CORS": {
    fault: { kind: "no-cors" },
    says: /cannot be reached from this page: it answers.*no CORS headers/,
  },
};

let server: ModelServer;
test.beforeAll(async () => {
  const names = Object.entries(HOSTILE).map(
    ([, { files }], index) => [`hostile/m${index}`, { files }] as const,
  );
  const good = { files: syntheticModel({ ...SIZES, layers: 1 }) };
  server = await startModelServer({ models: { ...Object.fromEntries(names), "made/good": good } });
});
test.afterEach(() => {
  server.faults.length = 0;
});
test.afterAll(async () => await server.close());

test("hostile files are refused in words", async ({ page }) => {
  await page.goto("./");
  for (const [index, [name, { says }]] of Object.entries(HOSTILE).entries()) {
    const asked = request(`${server.filesUrl}/hostile/m${index}/`, "W4A16");
    expect(await failureOf(page, asked), name).toMatch(says);
    await expect(page.getByRole("alert"), name).toBeVisible();
  }
});

test("what a server refuses is said, and a host that nobody answers for is named", async ({ page }) => {
  await page.goto("./");
  const asked = request(`${server.filesUrl}/made/good/`, "W4A16");
  for (const [name, { fault, says }] of Object.entries(FAULTS)) {
    server.faults.splice(0, server.faults.length, { fault, path: "/made/good/" });
    expect(await failureOf(page, asked), name).toMatch(says);
  }
  const nobody = request("http://127.0.0.1:9/models/tiny/", "W4A16");
  expect(await failureOf(page, nobody)).toMatch(/^127\.0\.0\.1:9 cannot be reached/);
});

test("a recipe that fits, and one that servers take, are a click away", async ({ page }) => {
  await page.goto("./");
  const asked = request(`${server.filesUrl}/made/good/`, "W4A16");
  expect(await failureOf(page, asked)).toMatch(
    /group size 128 does not divide the input columns of 6 modules: model\.layers\.0.*A group size of 64 divides/,
  );
  await expect(page.getByText("All presets")).toBeVisible();
  await expect(page.locator(".card", { hasText: "Server, newer GPUs" })).toContainText("KiB");
  await page.getByRole("button", { name: "Use groups of 64" }).click();
  await expect(page.getByText("It fits.")).toBeVisible();

  await page.goto("./?recipe=FP8_BLOCK");
  await page.getByLabel("Model folder").setInputFiles("e2e/fixtures/golden/source");
  const refused = page.getByText("vLLM will refuse this result");
  await expect(refused).toHaveCount(1);
  await page.getByRole("button", { name: "Ignore what vLLM refuses" }).click();
  await expect(refused).toHaveCount(0);
  await expect(page.getByText("It fits.")).toBeVisible();
});
