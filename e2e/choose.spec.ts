import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";

/** Drops on the page what a script can put into a transfer: text by type, and small files by name. */
async function drop(page: Page, data: Record<string, string>, files: Record<string, string> = {}) {
  const transfer = await page.evaluateHandle(
    ([texts, contents]) => {
      const made = new DataTransfer();
      for (const [type, text] of Object.entries(texts)) made.setData(type, text);
      for (const [name, content] of Object.entries(contents)) made.items.add(new File([content], name));
      return made;
    },
    [data, files] as const,
  );
  await page.dispatchEvent("main", "dragover", { dataTransfer: transfer });
  await page.dispatchEvent("main", "drop", { dataTransfer: transfer });
}

test("a chosen folder is read where it is, and what is said of the GPU moves nothing", async ({ page }) => {
  let probe = () => {};
  const probed = new Promise<void>((resolve) => (probe = resolve));
  await page.route("**/assets/compressor-*.js", async (route) => {
    await probed;
    await route.continue();
  });
  await page.goto("./");
  const button = page.getByRole("button", { name: "Try the sample model" });
  const before = await button.boundingBox();
  probe();
  await expect(page.getByRole("heading", { name: "No GPU, only software" })).toBeVisible();
  expect(await button.boundingBox()).toEqual(before);
  await page.getByLabel("Model folder").setInputFiles("public/sample");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("sample");
  await expect(page.getByText("local folder sample")).toBeVisible();
  await expect(page.getByRole("row", { name: "To download" })).toContainText("0 bytes");
});

test("what presets weigh and the plan comes to moves nothing once it is known", async ({ page }) => {
  await page.addInitScript(() => {
    const seen = { sizes: [""], tops: [""] };
    Object.assign(globalThis, { seen });
    const look = () => {
      const methods = document.querySelector(".methods");
      if (!methods) return;
      seen.sizes.push(document.querySelector(".card-size")?.textContent ?? "");
      const places = [
        methods,
        document.querySelector(".start button"),
        document.querySelector(".start .hint"),
      ];
      seen.tops.push(
        places.map((place) => Math.round((place?.getBoundingClientRect().top ?? 0) + scrollY)).join(),
      );
    };
    new MutationObserver(look).observe(document, { childList: true, characterData: true, subtree: true });
  });
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 860 });
    await page.goto("./");
    await page.getByRole("button", { name: "Try the sample model" }).click();
    await expect(page.getByRole("radio", { name: /^Small W4A16 2.55 MiB/ })).toBeVisible();
    const { sizes, tops } = await page.evaluate(
      () => (globalThis as unknown as { seen: { sizes: string[]; tops: string[] } }).seen,
    );
    expect(sizes[1]).toBe("…");
    expect(sizes.at(-1)).toMatch(/^2\.55 MiB/);
    expect(new Set(tops.slice(1)).size).toBe(1);
  }
});

test("a link that is dropped is inspected", async ({ page, baseURL }) => {
  await page.goto("./");
  await drop(page, { "text/uri-list": `# dragged\r\n${baseURL}sample/config.json`, "text/plain": "a title" });
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("sample");
});

test("files that are dropped are taken for a model, or refused in words", async ({ page }) => {
  await page.goto("./");
  await drop(page, {}, { "config.json": "{", "model.safetensors": "" });
  await expect(page.getByRole("alert")).toContainText(/config\.json|model\.safetensors/);
});

test("a pasted name fills in the field and waits for the click", async ({ page }) => {
  await page.goto("./");
  const requests: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.evaluate(() => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", " org/name\n");
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  });
  await expect(page.getByLabel("Model", { exact: true })).toHaveValue("org/name");
  await expect(page.getByText("Inspecting asks huggingface.co")).toBeVisible();
  expect(requests.filter((url) => url.includes("huggingface"))).toEqual([]);
});

test("a recipe's YAML can be copied, edited and given up again", async ({ page }) => {
  await page.goto("./");
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await page.getByText("Advanced").click();
  const yaml = page.getByLabel("Recipe in YAML");
  await expect(yaml).toHaveValue(/QuantizationModifier/);
  await page.getByRole("radio", { name: /^Server W8A8/ }).check();
  await expect(yaml).toHaveValue(/W8A8/);
  await page.getByRole("button", { name: "Edit or paste" }).click();
  await expect(page.getByRole("radio", { name: /^Server W8A8/ })).toBeDisabled();
  await yaml.fill("not: a recipe");
  await expect(page.getByRole("alert")).toContainText(["The recipe does not fit"]);
  await expect(page.getByRole("button", { name: "Start" })).toBeDisabled();
  await page.getByRole("button", { name: "Return to the presets" }).click();
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
  await page.getByRole("radio", { name: /^Small W4A16/ }).check();
  await page.getByRole("button", { name: "Take best-W4A16" }).click();
  await expect(yaml).toHaveValue(/SpinQuantModifier[^]*hessian_mse[^]*refine/);
  await expect(page.getByText(/the output head is a tensor of its own/)).toBeVisible();
  // A preset has no rotation, and would give a smaller result than the YAML.
  await expect(page.getByRole("radio", { name: /^Small W4A16 2.55 MiB/ })).toBeDisabled();
});

test("a part of the page that does not arrive is said, and so is what helps", async ({ page }) => {
  await page.route("**/job-view-*.js", async (route) => await route.abort());
  await page.goto("./");
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("alert")).toContainText("A part of this page could not be loaded.");
  await page.unroute("**/job-view-*.js");
  await page.getByRole("button", { name: "Reload the page" }).click();
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("sample");
});

test("a worker whose script does not arrive is said, to scripts too", async ({ page }) => {
  await page.route("**/compressor-*.js", async (route) => await route.abort());
  await page.goto("./");
  const told = await page.evaluate(
    async () => await globalThis.layerpress.inspect("org/name", null).catch((error: Error) => error.message),
  );
  expect(told).toContain("A part of this page could not be loaded.");
  await expect(page.getByRole("alert")).toContainText("A part of this page could not be loaded.");
});
