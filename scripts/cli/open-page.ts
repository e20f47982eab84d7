// The built page in a headless Chromium, for commands that drive it. The page's origin and profile stay the same from run
// to run of one working folder, so that what a run left in IndexedDB and OPFS is there for the next.

import { mkdir } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright";
import { type Plugin, preview, type PreviewServer } from "vite";
import { chromiumFlags, findChromium } from "../chromium.mjs";
import { watchInterruption } from "./interruption.ts";
import { receiveFiles } from "./receive-files.ts";

/** A name instead of a port: the server takes a free port every time, the origin stays. */
const HOST = "layerpress.localhost";
export const PAGE_ORIGIN = `http://${HOST}`;
/** A browser that does not close by itself is killed with this process. */
const CLOSING_MS = 5000;

/** The browser did not start, or went away in the middle. */
export class BrowserError extends Error {
  override readonly name = "BrowserError";
}

export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
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
  const server = await serve([...(out === null ? [] : [receiveFiles(out)]), ...plugins]);
  const { port } = server.httpServer.address() as AddressInfo;
  const launching = launch(work, port);
  const close = async () => {
    await within(
      CLOSING_MS,
      launching.then((context) => context.close()).catch(() => undefined),
    );
    await within(CLOSING_MS, server.close());
    interruption[Symbol.dispose]();
  };
  try {
    const context = await Promise.race([launching, interruption.interrupted]);
    const page = context.pages()[0] ?? (await context.newPage());
    const gone = untilGone(context, page);
    const during = async <T>(task: Promise<T>): Promise<T> => {
      // What the page answers when its browser goes away is Playwright's word, with a log in it.
      const outcome = task.catch(async (error: unknown) => {
        if (isClosed(error)) return await Promise.race([gone, interruption.interrupted]);
        throw error;
      });
      return await Promise.race([outcome, gone, interruption.interrupted]);
    };
    await during(page.goto(`${PAGE_ORIGIN}/?shown=no`));
    await during(page.waitForFunction(() => "layerpress" in globalThis));
    return { page, during, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function serve(plugins: Plugin[]): Promise<PreviewServer> {
  const own = process.listeners("SIGTERM");
  const server = await preview({
    root: join(import.meta.dirname, "../.."),
    logLevel: "error",
    plugins,
    preview: { host: "127.0.0.1", port: 0, strictPort: true, open: false },
  });
  // Vite's own listener ends the process before anything is said.
  for (const listener of process.listeners("SIGTERM"))
    if (!own.includes(listener)) process.off("SIGTERM", listener);
  return server;
}

function isClosed(error: unknown): boolean {
  return error instanceof Error && /has been closed|crashed|browser has disconnected/i.test(error.message);
}

/** Rejects once the browser or the page's process has ended. */
function untilGone(context: BrowserContext, page: Page): Promise<never> {
  const gone = new Promise<never>((_, reject) => {
    const tell = () =>
      reject(
        new BrowserError(
          "The browser that does the work has ended: it crashed, was killed, or the machine ran out of memory.",
        ),
      );
    context.on("close", tell);
    page.on("crash", tell);
  });
  gone.catch(() => undefined);
  return gone;
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
    return await chromium.launchPersistentContext(join(work, "profile"), {
      ...(executablePath ? { executablePath } : {}),
      args: [...chromiumFlags(), `--host-resolver-rules=MAP ${HOST}:80 127.0.0.1:${port}`],
      viewport: { width: 1280, height: 860 },
      // The command ends its browser itself, after its last sentence.
      handleSIGINT: false,
      handleSIGTERM: false,
      handleSIGHUP: false,
    });
  } catch (error) {
    const reason = launchFailure(error instanceof Error ? error.message : String(error));
    throw new BrowserError(
      `The browser ${executablePath ?? ""} does not start: ${reason} LAYERPRESS_CHROMIUM names another one.`,
    );
  }
}

/** The line of Playwright's launch log that says what is wrong, as far as one does. */
function launchFailure(log: string): string {
  const lines = log.split("\n").map((line) => line.replace(/^[\s-]*(\[pid=\d+\])?(\[err\])?\s*/, ""));
  const telling = lines.find((line) => /error while loading|FATAL|cannot|ENOENT|EACCES|No space/i.test(line));
  return `${(telling ?? lines[0] ?? "").slice(0, 300).replace(/[.:\s]*$/, "")}.`;
}
