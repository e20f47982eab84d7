// The built page in a headless Chromium, for commands that drive it. The page's origin and profile stay the same from run
// to run of one working folder, so that what a run left in IndexedDB and OPFS is there for the next.

import { mkdir, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright";
import { preview } from "vite";
import { chromiumFlags, findChromium } from "../chromium.mjs";
import { receiveFiles } from "./receive-files.ts";

/** A name instead of a port: the server takes a free port every time, the origin stays. */
const HOST = "layerpress.localhost";

export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  /** Deletes the browser's profile; after closing. */
  forget(): Promise<void>;
}

/**
 * Serves dist/, opens it with its profile in `work`, and waits until its door for scripts is there. What the page sends
 * to RECEIVING_PATH is written into `out`, if there is one.
 */
export async function openPage(work: string, out: string | null = null): Promise<OpenPage> {
  await mkdir(work, { recursive: true });
  const server = await preview({
    root: join(import.meta.dirname, "../.."),
    logLevel: "error",
    plugins: out === null ? [] : [receiveFiles(out)],
    preview: { host: "127.0.0.1", port: 0, strictPort: true, open: false },
  });
  const { port } = server.httpServer.address() as AddressInfo;
  try {
    const context = await launch(work, port);
    const page = context.pages()[0] ?? (await context.newPage());
    await page.goto(`http://${HOST}/`);
    await page.waitForFunction(() => "layerpress" in globalThis);
    return {
      page,
      forget: async () => await rm(work, { recursive: true, force: true }),
      [Symbol.asyncDispose]: async () => {
        await context.close();
        await server.close();
      },
    };
  } catch (error) {
    await server.close();
    throw error;
  }
}

async function launch(work: string, port: number): Promise<BrowserContext> {
  const executablePath = await findChromium();
  return await chromium.launchPersistentContext(join(work, "profile"), {
    ...(executablePath ? { executablePath } : {}),
    args: [...chromiumFlags(), `--host-resolver-rules=MAP ${HOST}:80 127.0.0.1:${port}`],
    viewport: { width: 1280, height: 860 },
  });
}
