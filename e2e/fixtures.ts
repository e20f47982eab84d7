// The built page in a real Chromium with a profile on disk: private contexts, Playwright's usual ones, keep IndexedDB and
// OPFS in memory. Whatever the page throws, and whatever its policy refuses, fails the test.

import { type BrowserContext, chromium, expect, type Page, test as base } from "@playwright/test";
import { chromiumFlags, findChromium } from "../scripts/chromium.mjs";

export { expect };

export interface BrowserOptions {
  /** False starts the browser without the flags that give it a software GPU. */
  readonly gpu?: boolean;
  readonly scheme?: "light" | "dark";
  readonly scripts?: boolean;
}

interface Fixtures {
  readonly browserOptions: BrowserOptions;
  readonly context: BrowserContext;
  readonly page: Page;
}

export const test = base.extend<Fixtures>({
  browserOptions: [{}, { option: true }],
  context: async ({ browserOptions, baseURL }, use, testInfo) => {
    const { gpu = true, scheme = "light", scripts = true } = browserOptions;
    const executablePath = await findChromium();
    const flags = chromiumFlags({ software: true });
    const context = await chromium.launchPersistentContext(testInfo.outputPath("profile"), {
      ...(executablePath ? { executablePath } : {}),
      ...(baseURL ? { baseURL } : {}),
      args: gpu ? flags : flags.filter((flag) => !flag.includes("webgpu")),
      colorScheme: scheme,
      javaScriptEnabled: scripts,
      viewport: { width: 1280, height: 860 },
    });
    await use(context);
    await context.close();
  },
  page: async ({ context }, use) => {
    const page = context.pages()[0] ?? (await context.newPage());
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => {
      if (/Content Security Policy|TrustedScript/.test(message.text())) faults.push(message.text());
    });
    await use(page);
    expect(faults).toEqual([]);
  },
});
