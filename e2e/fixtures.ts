// The built page in a real Chromium. Whatever the page throws, and whatever its policy refuses, fails the test.

import {
  type Browser,
  type BrowserContext,
  chromium,
  expect,
  type Page,
  test as base,
} from "@playwright/test";
import { chromiumFlags, findTestChromium } from "../scripts/chromium.mjs";

export { expect };

export interface BrowserOptions {
  /**
   * True gives the test a browser of its own with a profile on disk, as users have: for jobs, what they store and what they
   * find again. Otherwise tests share a browser, each in a private context, whose IndexedDB and OPFS lie in memory: a
   * second or two less for each test about what the page shows.
   */
  readonly profile?: boolean;
  /** False starts a browser without the flags that give it a software GPU. */
  readonly gpu?: boolean;
  readonly scripts?: boolean;
  /** True lets the page keep its own files; otherwise each test gets them from the server, and may change them under way. */
  readonly installed?: boolean;
}

interface Fixtures {
  readonly browserOptions: BrowserOptions;
  readonly context: BrowserContext;
  readonly page: Page;
}

interface WorkerFixtures {
  /** Starts the shared browser where it does not run yet. */
  readonly sharedBrowser: () => Promise<Browser>;
}

/** Lets a command line drive the tests' browser instead of the one that it finds for users. */
export async function testBrowser(): Promise<NodeJS.ProcessEnv> {
  const executable = await findTestChromium();
  return executable ? { LAYERPRESS_CHROMIUM: executable } : {};
}

async function launchOptions(gpu: boolean) {
  const executablePath = await findTestChromium();
  const flags = chromiumFlags({ software: true });
  return {
    ...(executablePath ? { executablePath } : {}),
    args: gpu ? flags : flags.filter((flag) => !flag.includes("webgpu")),
  };
}

export const test = base.extend<Fixtures, WorkerFixtures>({
  sharedBrowser: [
    async ({ playwright }, use) => {
      const running: { browser?: Promise<Browser> } = {};
      await use(
        async () =>
          await (running.browser ??= launchOptions(true).then(
            async (own) => await playwright.chromium.launch(own),
          )),
      );
      await (await running.browser)?.close();
    },
    { scope: "worker" },
  ],
  browserOptions: [{}, { option: true }],
  context: async ({ browserOptions, baseURL, sharedBrowser }, use, testInfo) => {
    const { profile = false, gpu = true, scripts = true, installed = false } = browserOptions;
    const options = {
      ...(baseURL ? { baseURL } : {}),
      javaScriptEnabled: scripts,
      serviceWorkers: installed ? ("allow" as const) : ("block" as const),
      viewport: { width: 1280, height: 860 },
    };
    const context =
      profile || !gpu
        ? await chromium.launchPersistentContext(testInfo.outputPath("profile"), {
            ...(await launchOptions(gpu)),
            ...options,
          })
        : await (await sharedBrowser()).newContext(options);
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
