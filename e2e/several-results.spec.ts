import { expectNoViolations } from "./expect-no-violations.ts";
import { expect, test } from "./fixtures.ts";

test("a run makes several results, each to be shown alone", async ({ page }) => {
  // One layer of four: the page shows no less of it.
  await page.goto("./?recipe=w8a8&ignore=lm_head,re:.*layers.[123].*");
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
  await page.getByText("Make more results in the same run").click();
  await page.getByRole("checkbox", { name: "FP8_DYNAMIC", exact: true }).check();
  const report = page.getByRole("region", { name: "Fit report" });
  await expect(report).toContainText("FP8_DYNAMIC");
  await expect(report).toHaveAttribute("aria-busy", "false");
  await expectNoViolations(page);
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
  const results = page.getByRole("region", { name: "Results of this run" });
  await expect(results.getByRole("button")).toHaveCount(2);
  await results.getByRole("button", { name: "FP8_DYNAMIC" }).click();
  await expect(results.getByRole("button", { name: "FP8_DYNAMIC" })).toHaveAttribute("aria-current", "true");
  await expectNoViolations(page);
});

test("the size of the weights is chosen on a curve of what was measured", async ({ page }) => {
  await page.goto(
    "./?recipe=gptq-w4a16&samples=1&max-seq-length=32&group-size=64&ignore=lm_head,re:.*mlp.*,re:.*[kv]_proj,re:.*layers.[123].*",
  );
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await page.getByRole("button", { name: "Measure 4, 6 and 8 bits" }).click();
  const slider = page.getByRole("slider", { name: "Size of the weights" });
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await expect(page.getByText(/W8A16-G64, 0 as it is/)).toBeVisible();
  const report = page.getByRole("region", { name: "Fit report" });
  await expect(report).toHaveAttribute("aria-busy", "false");
  await expectNoViolations(page);
  await page.setViewportSize({ width: 390, height: 844 });
  const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  expect(await page.evaluate(overflow)).toBeLessThanOrEqual(0);
});
