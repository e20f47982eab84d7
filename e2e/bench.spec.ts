import { expect, test } from "./fixtures.ts";

test("measures a kernel and says on what machine", async ({ page }) => {
  await page.goto("./bench/");
  const { head, ceilings, kernels, endToEnd } = await page.evaluate(
    async () => await globalThis.layerpressBench({ small: true, repeats: 1, only: ["^cholesky/"] }),
  );
  expect(head.adapter.software).toBe(true);
  expect(head.small).toBe(true);
  expect(head.limits["maxBufferSize"]).toBeGreaterThan(0);
  expect(kernels.map(({ name, failure }) => [name, failure])).toEqual([
    ["ceiling.product", null],
    ["ceiling.copy", null],
    ["cholesky/256", null],
  ]);
  const [product, , cholesky] = kernels;
  expect(product?.rate).toBe(ceilings.flop);
  expect(cholesky?.work).toBeCloseTo(256 ** 3 / 3);
  expect(cholesky?.wallMs?.min).toBeGreaterThan(0);
  expect(cholesky?.share).toBeGreaterThan(0);
  expect(endToEnd).toEqual([]);
});

test("refuses to measure a software adapter in earnest", async ({ page }) => {
  await page.goto("./bench/");
  await page.getByRole("button", { name: "Run all kernels" }).click();
  await expect(page.getByRole("status")).toContainText("This is a software adapter");
});

test("shares no script with the application", async ({ page }) => {
  const scripts = async (path: string) => {
    await page.goto(path);
    return await page.evaluate(() =>
      performance
        .getEntriesByType("resource")
        .map(({ name }) => name)
        .filter((name) => name.endsWith(".js")),
    );
  };
  const application = await scripts("./");
  const benchmark = await scripts("./bench/");
  expect(benchmark.length).toBeGreaterThan(0);
  expect(application.filter((name) => benchmark.includes(name))).toEqual([]);
});
