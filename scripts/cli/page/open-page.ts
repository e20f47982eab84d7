// The built page in a headless Chromium, for commands that drive it. The page's origin and profile stay the same from run
// to run of one working folder, so that what a run left in IndexedDB and OPFS is there for the next.

import { mkdir } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type BrowserContext, chromium, errors, type Page } from "playwright";
import { type Plugin, preview, type PreviewServer } from "vite";
import { inTime } from "../../../src/in-time.ts";
import { chromiumFlags, findChromium } from "../../chromium.mjs";
import { watchInterruption } from "./interruption.ts";
import { removeSocket } from "./remove-socket.ts";
import { letTell } from "./told.ts";
import { receiveFiles, type ReceivedFiles } from "./receive-files.ts";
import { BrowserError, type BrowserWatch, isClosed, unanswered, watchBrowser } from "./watch-browser.ts";
import { undoneBy } from "../../../src/ended-by.ts";

/** A name instead of a port: the server takes a free port every time, the origin stays. */
const HOST = "layerpress.localhost";
export const PAGE_ORIGIN = `http://${HOST}`;
/** Longer than a browser that starts under load takes to start, the page to come, and its workers to answer. */
const OPENING_MS = 60_000;
/** A browser that does not close by itself is killed with this process. */
const CLOSING_MS = 5000;

/** Where the browser of a working folder keeps what its page stores. */
export function profileIn(work: string): string {
  return join(work, "profile");
}

export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  /** What the page has sent into the folder so far. */
  readonly received: Readonly<ReceivedFiles>;
  /**
   * Waits for work that the page does.
   * @throws what the work throws; BrowserError if the browser goes away meanwhile; InterruptedError at a signal
   */
  during<T>(work: Promise<T>): Promise<T>;
}

/**
 * Serves dist/, opens it with its profile in `work`, and waits until its door for scripts is there. What the page sends
 * to RECEIVING_PATH is written into `out`, if there is one; `plugins` answer more. The page shows nothing: a job must not depend on fonts.
 * @throws BrowserError, InterruptedError
 */
export async function openPage(
  work: string,
  out: string | null = null,
  plugins: readonly Plugin[] = [],
): Promise<OpenPage> {
  await mkdir(work, { recursive: true });
  const interruption = watchInterruption();
  const received: ReceivedFiles = new Map();
  const server = await serve([...(out === null ? [] : [receiveFiles(out, received)]), ...plugins]);
  const { port } = server.httpServer.address() as AddressInfo;
  const launching = launch(work, port);
  let watch: BrowserWatch | null = null;
  const close = async () => {
    watch?.[Symbol.dispose]();
    await within(
      CLOSING_MS,
      launching.then((context) => context.close()).catch(() => undefined),
    );
    await within(CLOSING_MS, server.close());
    await removeSocket(profileIn(work));
    interruption[Symbol.dispose]();
  };
  const start = async () => {
    const context = await Promise.race([launching, interruption.interrupted]);
    const page = context.pages()[0] ?? (await inOpeningTime(context.newPage(), "its page"));
    watch = watchBrowser(context, page);
    const { gone } = watch;
    const during = async <T>(task: Promise<T>): Promise<T> => {
      // What the page answers when its browser goes away is Playwright's word, with a log in it.
      const outcome = task.catch(async (error: unknown) => {
        if (isClosed(error)) return await Promise.race([gone, interruption.interrupted]);
        throw error;
      });
      return await Promise.race([outcome, gone, interruption.interrupted]);
    };
    await during(inOpeningTime(open(page), "its page"));
    await during(
      inOpeningTime(
        page.evaluate(async () => await globalThis.layerpress.ready()),
        "a worker",
      ),
    );
    return { page, received, during, [Symbol.asyncDispose]: close };
  };
  return await undoneBy(start, close);
}

/** Opens the page and waits for its door. */
async function open(page: Page): Promise<void> {
  await letTell(page);
  // Playwright's own limits end in its own words.
  await page.goto(`${PAGE_ORIGIN}/?shown=no`, { timeout: 0 });
  await page.waitForFunction(() => "layerpress" in globalThis, null, { timeout: 0 });
}

async function inOpeningTime<T>(work: Promise<T>, what: string): Promise<T> {
  return await inTime(work, OPENING_MS, () => unanswered(OPENING_MS, what));
}

async function serve(plugins: Plugin[]): Promise<PreviewServer> {
  const own = process.listeners("SIGTERM");
  const server = await preview({
    root: join(import.meta.dirname, "../../.."),
    // What is built is served as it is: reading the configuration writes beside it, where this user may not write.
    configFile: false,
    appType: "mpa",
    logLevel: "error",
    plugins,
    preview: { host: "127.0.0.1", port: 0, strictPort: true, open: false },
  });
  // Vite's own listener ends the process before anything is said.
  for (const listener of process.listeners("SIGTERM"))
    if (!own.includes(listener)) process.off("SIGTERM", listener);
  return server;
}

async function within(milliseconds: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

async function launch(work: string, port: number): Promise<BrowserContext> {
  const executablePath = await findChromium();
  try {
    return await chromium.launchPersistentContext(profileIn(work), {
      ...(executablePath ? { executablePath } : {}),
      args: [...chromiumFlags(), `--host-resolver-rules=MAP ${HOST}:80 127.0.0.1:${port}`],
      viewport: { width: 1280, height: 860 },
      timeout: OPENING_MS,
      // The command ends its browser itself, after its last sentence.
      handleSIGINT: false,
      handleSIGTERM: false,
      handleSIGHUP: false,
    });
  } catch (error) {
    if (error instanceof errors.TimeoutError) throw unanswered(OPENING_MS, "its first page");
    const reason = launchFailure(error instanceof Error ? error.message : String(error));
    throw new BrowserError(
      `The browser ${executablePath ?? ""} does not start: ${reason} LAYERPRESS_CHROMIUM names another one.`,
    );
  }
}

/** The line of Playwright's launch log that says what is wrong, as far as one does. */
function launchFailure(log: string): string {
  const lines = log
    .replace(/^browserType\.\w+: /, "")
    .replace(/^Target page, context or browser has been closed/, "it ended at once")
    .split("\n")
    .map((line) => line.replace(/^[\s-]*(\[pid=\d+\])?(\[err\])?\s*/, ""));
  const telling = lines.find((line) => /error while loading|FATAL|cannot|ENOENT|EACCES|No space/i.test(line));
  return `${(telling ?? lines[0] ?? "").slice(0, 300).replace(/[.:\s]*$/, "")}.`;
}
