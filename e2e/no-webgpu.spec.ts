import { expect, test } from "./fixtures.ts";

test.use({ browserOptions: { profile: true } });

test.describe("without a graphics adapter", () => {
  test.use({ browserOptions: { gpu: false } });

  test("says so in a sentence, still inspects, and refuses to start with the reason", async ({ page }) => {
    await page.goto("./");
    await expect(page.getByRole("heading", { name: "No GPU to work with" })).toBeVisible();
    await expect(page.getByText("offers no graphics adapter")).toBeVisible();
    await page.getByRole("button", { name: "Try the sample model" }).click();
    await expect(page.getByRole("heading", { name: "Fit report" })).toBeVisible();
    await expect(page.getByText("LlamaForCausalLM")).toBeVisible();
    await expect(page.getByRole("button", { name: "Start" })).toBeDisabled();
    await expect(page.getByText("This needs a GPU")).toBeVisible();
  });
});

test("names the browsers that have WebGPU where there is none", async ({ page }) => {
  await page.route("**/assets/compressor-*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `delete WorkerNavigator.prototype.gpu;${await response.text()}` });
  });
  await page.goto("./");
  await expect(page.getByText("This browser has no WebGPU")).toBeVisible();
});

test.describe("with scripts switched off", () => {
  test.use({ browserOptions: { profile: true, scripts: false } });

  test("explains why nothing happens", async ({ page }) => {
    await page.goto("./");
    await expect(page.getByRole("paragraph")).toContainText("It needs JavaScript");
  });
});
