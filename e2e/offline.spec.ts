import { join } from "node:path";
import { serveFolder } from "../scripts/serve-folder.ts";
import { expectNoViolations } from "./expect-no-violations.ts";
import { expect, test } from "./fixtures.ts";

test.use({ browserOptions: { profile: true, installed: true } });

const DIST = join(import.meta.dirname, "../dist");
const BELOW = "/some/path/";

test("the page opens without a network and compresses a dropped folder; a newer build is announced, and waits for a job", async ({
  page,
}) => {
  await using server = await serveFolder(DIST, BELOW);
  await page.goto(server.url);
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller)
      await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve));
  });
  // Only the build's own files, and neither engines, benchmarks nor the sample.
  expect(server.asked.filter((path) => !path.startsWith(BELOW) || /sample|bench|\.wasm$/.test(path))).toEqual(
    [],
  );
  const manifest = await page.evaluate(async () => {
    const link = document.querySelector<HTMLLinkElement>('link[rel="manifest"]');
    return (await (await fetch(link?.href ?? "")).json()) as { readonly name: string };
  });
  expect(manifest.name).toBe("Layerpress");

  server.gone = true;
  await page.reload();
  await page.setInputFiles('input[type="file"][aria-label="Model folder"]', "e2e/fixtures/golden/source");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();

  server.gone = false;
  server.change = (path, content) =>
    path === "service-worker.js" ? Buffer.from(`${content.toString()}\n// newer`) : content;
  await page.evaluate(async () => void (await (await navigator.serviceWorker.ready).update()));
  const offer = page.getByRole("button", { name: "Reload into it" });
  await expect(offer).toBeVisible();
  await expectNoViolations(page);
  await page.evaluate(() => {
    const held = new Promise<void>((resolve) => Object.assign(globalThis, { endJob: resolve }));
    void navigator.locks.request("layerpress-job", async () => await held);
  });
  await offer.click();
  await expect(page.getByText("A job or an upload is under way")).toBeVisible();
  await page.evaluate(() => (globalThis as unknown as { endJob: () => void }).endJob());
  const reloaded = page.waitForEvent("load");
  await offer.click();
  await reloaded;
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await expect(offer).toBeHidden();
});
