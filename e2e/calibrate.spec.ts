import type { Locator, Page } from "@playwright/test";
import { expectNoViolations } from "./expect-no-violations.ts";
import { expect, test } from "./fixtures.ts";
import { holdFile, LAST_FILE } from "./hold-file.ts";
import { compress, request } from "./jobs.ts";

/** Little enough for a software GPU. */
const SAMPLES = "2";
const LENGTH = "32";
/** What is left alone where a layer that is compressed has to do. */
const ONE_LAYER = ["lm_head", "re:.*layers[.][123][.].*"];

async function inspectSample(page: Page, search = ""): Promise<void> {
  await page.goto(`./${search}`);
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("sample");
}

function fitRow(page: Page, name: string): Locator {
  return page.getByRole("region", { name: "Fit report" }).getByRole("row", { name });
}

async function calibrateLittle(page: Page): Promise<void> {
  await page.getByLabel("num_calibration_samples").fill(SAMPLES);
  await page.getByLabel("max_seq_length").fill(LENGTH);
  await expect(fitRow(page, "Calibrated with")).toContainText(`${SAMPLES} samples`);
}

test("GPTQ runs on the sample model with its own text, and tells of every module", async ({ page }) => {
  await inspectSample(page);
  await page.getByRole("radio", { name: /^GPTQ/ }).check();
  await expect(page.getByRole("radio", { name: "The model’s own text" })).toBeChecked();
  await expect(page.getByText("The text never leaves this machine.")).toBeVisible();
  await calibrateLittle(page);
  await page.getByText("Advanced").click();
  await page.getByLabel("Group size").selectOption("64");
  // Attention of two layers: a software GPU takes twice as long for the other modules of each.
  await page.getByLabel("Ignore", { exact: true }).fill("lm_head, re:.*mlp.*, re:.*layers[.][23][.].*");
  await page.getByLabel("dampening_frac").fill("0.02");
  await page.getByLabel("actorder").selectOption("none");
  await expect(page.getByLabel("Recipe in YAML")).toHaveValue(
    /GPTQModifier:[^]*group_size: 64[^]*dampening_frac: 0.02/,
  );
  const fit = page.getByRole("region", { name: "Fit report" });
  await expect(fit).toHaveAttribute("aria-busy", "false");
  expect(await fit.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)).toBe(0);
  const release = await holdFile(page, LAST_FILE);
  await page.getByRole("button", { name: "Start" }).click();

  // Live: the first layer's modules are there before the job is done.
  const errors = page.getByRole("region", { name: "Error by module" });
  await expect(errors.getByRole("row", { name: /layers\.0\.self_attn\.q_proj/ })).toBeVisible();
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(page.getByRole("heading", { name: /^Paused/ })).toBeVisible();
  await expectNoViolations(page);
  release();
  await page.getByRole("button", { name: "Resume" }).click();

  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
  const rows = errors.locator("tbody tr");
  await expect(rows).toHaveCount(8);
  const figures = await rows.first().getByRole("cell").allTextContents();
  const [gptq, nearest, , damping] = figures.map(Number);
  expect(gptq).toBeGreaterThan(0);
  expect(gptq).toBeLessThan(nearest ?? 0);
  expect(damping).toBe(0.02);
  await expect(errors.locator("circle.gptq")).toHaveCount(8);
  await expect(errors).toContainText(
    /GPTQ leaves \d+ % of the error of rounding to nearest, on average over 8 modules/,
  );
  await expect(page.getByRole("region", { name: "Figures", exact: true })).toContainText("Calibrating");
  await expectNoViolations(page);
});

test("a text that is dropped while a recipe needs one calibrates, and is not taken for a model", async ({
  page,
}) => {
  await inspectSample(page, "?recipe=gptq-w8a16");
  await expect(page.getByRole("radio", { name: /^Careful/ })).toBeChecked();
  await expect(page.getByRole("radio", { name: /^GPTQ/ })).toBeChecked();
  const transfer = await page.evaluateHandle(() => {
    const made = new DataTransfer();
    const lines = ["Ada walked to the hill.", "Fern found a silver key."];
    made.items.add(new File([lines.map((text) => JSON.stringify({ text })).join("\n")], "tales.jsonl"));
    return made;
  });
  await page.dispatchEvent("main", "drop", { dataTransfer: transfer });
  await expect(page.getByRole("radio", { name: "A file" })).toBeChecked();
  await expect(page.getByText("tales.jsonl")).toBeVisible();
  await expect(fitRow(page, "Calibrated with")).toContainText("2 samples");
});

test("what is wrong with a text is said where it was chosen, and rounding to nearest is offered", async ({
  page,
}) => {
  await inspectSample(page, "?recipe=gptq-w4a16");
  await page.getByRole("radio", { name: "A file" }).check();
  await expect(page.getByRole("button", { name: "Start" })).toBeDisabled();
  await expect(page.getByText("Choose a file with calibration text first.")).toBeVisible();
  await page.getByLabel("Calibration file").setInputFiles({
    name: "ids.json",
    mimeType: "application/json",
    buffer: Buffer.from("[[1, 2, 999999]]"),
  });
  await expect(page.getByRole("alert")).toContainText(["The calibration text cannot be used"]);
  await page.getByRole("button", { name: "Round to nearest instead" }).click();
  await expect(page.getByRole("radio", { name: "Round to nearest" })).toBeChecked();
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
});

test("a data set's rows calibrate, and one that does not exist is said", async ({ page, context }) => {
  const asked: string[] = [];
  await context.route("https://datasets-server.huggingface.co/**", async (route) => {
    const url = new URL(route.request().url());
    asked.push(`${url.pathname} ${url.searchParams.get("dataset")} ${url.searchParams.get("split")}`);
    const headers = { "access-control-allow-origin": "*" };
    if (url.searchParams.get("dataset") !== "org/tales") {
      await route.fulfill({ status: 404, headers, json: { error: "Not found." } });
      return;
    }
    const rows = ["Ada walked to the hill.", "Fern found a silver key.", "The tide turned."].map((story) => ({
      row: { story },
    }));
    await route.fulfill({ headers, json: { rows, num_rows_total: rows.length } });
  });
  await inspectSample(page, "?recipe=gptq-w4a16");
  await page.getByRole("radio", { name: "A Hugging Face data set" }).check();
  await expect(page.getByLabel("Data set", { exact: true })).toHaveValue("HuggingFaceH4/ultrachat_200k");
  await expect(page.getByText("Hugging Face is asked for rows of this data set")).toBeVisible();
  await expect(page.getByRole("alert")).toContainText(["HuggingFaceH4/ultrachat_200k"]);
  await page.getByLabel("Config").fill("default");
  await page.getByLabel("Split").fill("train");
  await page.getByLabel("Column", { exact: true }).fill("story");
  await page.getByLabel("Data set", { exact: true }).fill("https://huggingface.co/datasets/org/tales");
  await page.getByLabel("Data set", { exact: true }).press("Enter");
  await expect(fitRow(page, "Calibrated with")).toContainText("3 samples");
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
  expect(asked).toContain("/rows org/tales train");
});

test("a link that asks for an unknown recipe is told which one is near", async ({ page }) => {
  await page.goto("./?model=sample/&recipe=gptq-w4a61");
  await expect(page.getByText("The nearest one is gptq-W4A16.")).toBeVisible();
  await expect(page.getByLabel("Model", { exact: true })).toHaveValue("sample/");
});

test("a script compresses through the page's door, and takes the files one by one", async ({ page }) => {
  await page.goto("./");
  const { files, peakGpuBytes, plannedGpuBytes } = await compress(
    page,
    request("sample/", "w8a16", { ignore: ONE_LAYER }),
  );
  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
  expect(peakGpuBytes).toBeLessThanOrEqual(plannedGpuBytes);
  expect(files).toContain("config.json");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.evaluate(async () => await globalThis.layerpress.save("config.json")),
  ]);
  expect(download.suggestedFilename()).toBe("config.json");
  const refused = page.evaluate(async () => await globalThis.layerpress.inspect("not an address", null));
  await expect(refused).rejects.toThrow(/not an address/);
});
