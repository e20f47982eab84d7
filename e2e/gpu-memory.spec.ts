// GPU memory of whole jobs: what was planned, whatever the model's depth.

import { expect, test } from "./fixtures.ts";
import { compress, request, tokenIds, UNSHOWN } from "./jobs.ts";
import { type ModelServer, startModelServer } from "../scripts/model-server/model-server.ts";
import { syntheticModel } from "../scripts/model-server/synthetic-model.ts";

test.use({ browserOptions: { profile: true } });

const SIZES = { hidden: 128, intermediate: 256, heads: 4, kvHeads: 2, vocab: 256, dtype: "BF16" } as const;

/** A layer of 34 MiB, more than the smallest budget that the page takes, and of half as many weights as in BF16. */
const LARGE = { hidden: 1024, intermediate: 1920, dtype: "F32" } as const;
const SMALLEST_BUDGET = 32 * 1024 ** 2;

let server: ModelServer;
test.beforeAll(async () => {
  server = await startModelServer({
    models: {
      "made/two": { files: syntheticModel({ ...SIZES, layers: 2 }) },
      "made/many": { files: syntheticModel({ ...SIZES, layers: 6 }) },
      "made/one": { files: syntheticModel({ ...SIZES, layers: 1 }) },
      "made/large": { files: syntheticModel({ ...SIZES, ...LARGE, layers: 1 }) },
    },
  });
});
test.afterAll(async () => await server.close());

test("more layers take no more GPU memory", async ({ page }) => {
  await page.goto(UNSHOWN);
  const two = await compress(page, request(`${server.filesUrl}/made/two/`, "W4A16"));
  const many = await compress(page, request(`${server.filesUrl}/made/many/`, "W4A16"));
  expect(many.peakGpuBytes).toBe(two.peakGpuBytes);
  expect(many.peakGpuBytes).toBeLessThanOrEqual(many.plannedGpuBytes);
});

test("GPTQ, and a layer that does not fit, keep to a small budget and to their plan", async ({ page }) => {
  await page.goto(UNSHOWN);
  const gpuBudgetBytes = SMALLEST_BUDGET;
  const ids = tokenIds(4, 32, SIZES.vocab);
  for (const asked of [
    request(`${server.filesUrl}/made/one/`, "gptq-w4a16", { ids, gpuBudgetBytes }),
    request(`${server.filesUrl}/made/large/`, "W4A16", { gpuBudgetBytes }),
  ]) {
    const { peakGpuBytes, plannedGpuBytes } = await compress(page, asked);
    expect(peakGpuBytes).toBeLessThanOrEqual(plannedGpuBytes);
    expect(plannedGpuBytes).toBeLessThanOrEqual(SMALLEST_BUDGET);
  }
});
