import { brokenWords } from "./broken-words.ts";
import { expectNoViolations } from "./expect-no-violations.ts";
import { expect, test } from "./fixtures.ts";
import { holdFile, LAST_FILE } from "./hold-file.ts";
import { startModelServer } from "../scripts/model-server/model-server.ts";
import { folderModel } from "../scripts/model-server/served-model.ts";

test("axe finds nothing in the four states", async ({ page }) => {
  await page.goto("./");
  await expect(page.getByRole("heading", { name: "No GPU, only software" })).toBeVisible();
  await page.getByText("Gated or private model").click();
  await expectNoViolations(page);

  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
  await page.getByText("Advanced").click();
  await page.getByLabel("GPU budget", { exact: true }).fill("nothing");
  await expect(page.getByRole("alert")).toContainText(["Write an amount"]);
  await expectNoViolations(page);
  await page.getByLabel("GPU budget", { exact: true }).fill("256 MiB");
  // Attention alone: steps and figures are as many.
  await page.getByLabel("Ignore", { exact: true }).fill("lm_head, re:.*mlp.*");

  const release = await holdFile(page, LAST_FILE);
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(page.getByRole("heading", { name: /^Paused/ })).toBeVisible();
  await expect(page.getByRole("region", { name: "Progress" })).toContainText("left once you resume");
  await expectNoViolations(page);
  release();
  await page.getByRole("button", { name: "Resume" }).click();

  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
  await expectNoViolations(page);
  await page.getByRole("button", { name: "Storage" }).click();
  await expect(page.getByRole("dialog")).toContainText("finished");
  await expectNoViolations(page);
});

test("axe finds nothing where a quantized model is inspected", async ({ page }) => {
  const files = await folderModel("e2e/fixtures/golden/kv-cache-fp8");
  const server = await startModelServer({ models: { "local/quantized": { files } } });
  try {
    await page.goto("./");
    await page.getByLabel("Model", { exact: true }).fill(`${server.filesUrl}/local/quantized/`);
    await page.getByRole("button", { name: "Inspect" }).click();
    const panel = page.getByRole("region", { name: "Quantized already" });
    await expect(panel).toContainText("FP8, one scale for keys and one for values");
    await panel.getByText("Kept as it was").click();
    await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
    await expect(page.getByRole("heading", { name: "Try this model as it is" })).toBeVisible();
    await expectNoViolations(page);
    await page.setViewportSize({ width: 320, height: 640 });
    const widthLeft = await page.evaluate(
      () => document.documentElement.clientWidth - document.documentElement.scrollWidth,
    );
    expect(widthLeft).toBeGreaterThanOrEqual(0);
  } finally {
    await server.close();
  }
});

test("axe finds nothing where a text is chosen, nor among all presets", async ({ page }) => {
  await page.goto("./?recipe=gptq-w3a16");
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("radio", { name: /^W3A16/ })).toBeChecked();
  await page.getByRole("searchbox", { name: "Filter presets" }).fill("blackwell");
  await expect(page.getByRole("radio", { name: /^NVFP4 / })).toBeVisible();
  await page.getByText("Advanced").click();
  await expectNoViolations(page);
  await page.getByRole("radio", { name: "A file" }).check();
  await expectNoViolations(page);
  await page.getByRole("radio", { name: "A Hugging Face data set" }).check();
  await page.getByLabel("num_calibration_samples").fill("many");
  await expect(page.getByRole("alert")).toContainText(["Write a whole number"]);
  await expectNoViolations(page);
});

test("axe finds nothing in a failure", async ({ page }) => {
  await page.goto("./");
  await page.getByLabel("Model", { exact: true }).fill("not an address");
  await page.getByRole("button", { name: "Inspect" }).click();
  await expect(page.getByRole("alert")).toContainText("not an address");
  await expectNoViolations(page);
});

test("the way from address to plan needs no mouse, and the focus goes with it", async ({ page }) => {
  await page.goto("./");
  await page.getByLabel("Model", { exact: true }).focus();
  await page.keyboard.type("sample/");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toBeFocused();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("sample");
  await page.getByRole("radio", { name: /W4A16/ }).focus();
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("radio", { name: /W8A16/ })).toBeChecked();
});

test("nothing is cut off on a narrow screen, nor at twice the text size", async ({ page }) => {
  const widthLeft = async () =>
    await page.evaluate(() => document.documentElement.clientWidth - document.documentElement.scrollWidth);
  await page.setViewportSize({ width: 320, height: 640 });
  await page.goto("./");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  expect(await widthLeft()).toBeGreaterThanOrEqual(0);
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
  await page.getByText("Advanced").click();
  await page.getByText("All presets").click();
  await page.getByRole("radio", { name: /^GPTQ/ }).check();
  expect(await widthLeft()).toBeGreaterThanOrEqual(0);
  expect(await brokenWords(page)).toEqual([]);
  await page.evaluate(() => (document.documentElement.style.fontSize = "200%"));
  for (const width of [1280, 640]) {
    await page.setViewportSize({ width, height: 860 });
    expect(await widthLeft()).toBeGreaterThanOrEqual(0);
    expect(await brokenWords(page)).toEqual([]);
  }
});
