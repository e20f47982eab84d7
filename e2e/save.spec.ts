import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.ts";

test.use({ browserOptions: { profile: true } });

/** Gives the page pickers that choose a folder of its own storage, as no test can click in the browser's own dialogs. */
async function choosePickers(page: Page, pickers: "chosen" | "none"): Promise<void> {
  await page.addInitScript((kind) => {
    const chosen = async () => {
      const root = await navigator.storage.getDirectory();
      return await root.getDirectoryHandle("chosen", { create: true });
    };
    const own = {
      showDirectoryPicker: chosen,
      showSaveFilePicker: async ({ suggestedName }: { suggestedName: string }) =>
        await (await chosen()).getFileHandle(suggestedName, { create: true }),
    };
    const none = { showDirectoryPicker: undefined, showSaveFilePicker: undefined };
    Object.assign(globalThis, kind === "chosen" ? own : none);
  }, pickers);
}

/** One layer of four: as many files are saved. */
async function compressSample(page: Page): Promise<void> {
  await page.goto("./?recipe=w4a16&ignore=lm_head,re:.*layers.[123].*");
  await page.getByRole("button", { name: "Try the sample model" }).click();
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("heading", { name: /^Compressed/ })).toBeVisible();
}

/** SHA-256 of every file below a folder of OPFS, by path. */
async function digests(page: Page, ...path: string[]): Promise<Record<string, string>> {
  return await page.evaluate(async (parts) => {
    let folder = await navigator.storage.getDirectory();
    for (const part of parts) folder = await folder.getDirectoryHandle(part);
    const found: Record<string, string> = {};
    for await (const [name, handle] of folder.entries()) {
      if (handle.kind !== "file") continue;
      const bytes = await (await handle.getFile()).arrayBuffer();
      found[name] = [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].join();
    }
    return found;
  }, path);
}

/** Name of the one job's folder. */
async function jobId(page: Page): Promise<string> {
  return await page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const jobs = await (await root.getDirectoryHandle("layerpress")).getDirectoryHandle("jobs");
    for await (const name of jobs.keys()) return name;
    return "";
  });
}

/** Names in a zip's central directory (APPNOTE 6.3.10, section 4.3.12). */
function namesInZip(zip: Buffer): string[] {
  const end = zip.byteLength - 22;
  let at = zip.readUInt32LE(end + 16);
  return Array.from({ length: zip.readUInt16LE(end + 10) }, () => {
    const nameEnd = at + 46 + zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, nameEnd);
    at = nameEnd + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
    return name;
  });
}

test("a result goes into a folder of the user's choice, and never over another", async ({ page }) => {
  await choosePickers(page, "chosen");
  await compressSample(page);
  await page.getByRole("button", { name: "Save to a folder" }).click();
  await expect(page.getByText("Saved as sample-W4A16 in the folder chosen.")).toBeVisible();
  await page.getByRole("button", { name: "Save to a folder" }).click();
  await expect(page.getByText("Saved as sample-W4A16-2 in the folder chosen.")).toBeVisible();
  const output = await digests(page, "layerpress", "jobs", await jobId(page), "output");
  expect(Object.keys(output)).toContain("model.safetensors");
  expect(await digests(page, "chosen", "sample-W4A16")).toEqual(output);
  expect(await digests(page, "chosen", "sample-W4A16-2")).toEqual(output);
  await page.getByRole("button", { name: "Save as one zip" }).click();
  await expect(page.getByText("Saved as sample-W4A16.zip.")).toBeVisible();
  expect(Object.keys(await digests(page, "chosen"))).toEqual(["sample-W4A16.zip"]);
});

test("a result goes to the browser's downloads where there are no pickers", async ({ page }) => {
  await choosePickers(page, "none");
  await compressSample(page);
  await expect(page.getByRole("button", { name: "Save to a folder" })).toBeHidden();
  const files = await page.getByRole("region", { name: "Files" }).getByRole("rowheader").allTextContents();

  const zipped = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save as one zip" }).click();
  const zip = await readFile(await (await zipped).path());
  expect(namesInZip(zip).toSorted()).toEqual(files.map((file) => `sample-W4A16/${file}`).toSorted());

  const names: string[] = [];
  page.on("download", (download) => names.push(download.suggestedFilename()));
  await page.getByRole("button", { name: "Save as files" }).click();
  await expect.poll(() => names.toSorted()).toEqual(files.toSorted());

  await expect.poll(async () => await rootNames(page)).toContain("layerpress-zip");
  await page.reload();
  await expect.poll(async () => await rootNames(page)).not.toContain("layerpress-zip");
});

/** Names at the root of the page's own storage. */
async function rootNames(page: Page): Promise<string[]> {
  return await page.evaluate(async () => {
    const names: string[] = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
    return names;
  });
}
