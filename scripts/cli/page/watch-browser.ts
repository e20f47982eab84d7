// Whether the browser that does the work is still there. What it is asked it may never answer: a process of it that ends while it
// starts takes answers with it that nobody misses but us.

import type { BrowserContext, Page } from "playwright";
import { inTime } from "../../../src/in-time.ts";

/** The browser did not start, or went away in the middle. */
export class BrowserError extends Error {
  override readonly name = "BrowserError";
}

/** The page only shows what its workers do, and answers within milliseconds. */
const BEAT_MS = 5000;
const SILENCE_MS = 60_000;

export interface BrowserWatch extends Disposable {
  /** Never resolves; rejects with a BrowserError once the browser or the page's process has ended, or does not answer any more. */
  readonly gone: Promise<never>;
}

/** Watches a page until disposed. */
export function watchBrowser(
  context: Pick<BrowserContext, "on">,
  page: Pick<Page, "on" | "evaluate">,
  { beatMs, silenceMs } = { beatMs: BEAT_MS, silenceMs: SILENCE_MS },
): BrowserWatch {
  let tell: (error: BrowserError) => void = () => undefined;
  const gone = new Promise<never>((_, reject) => (tell = reject));
  gone.catch(() => undefined);
  const ended = () =>
    tell(
      new BrowserError(
        "The browser that does the work has ended: it crashed, was killed, or the machine ran out of memory.",
      ),
    );
  context.on("close", ended);
  page.on("crash", ended);
  let asking = false;
  const ask = async () =>
    await inTime(
      page.evaluate(() => true),
      silenceMs / 2,
      () => unanswered(silenceMs, "its page"),
    );
  const beat = async () => {
    try {
      // Asked twice: where the machine slept meanwhile, the first time is over before anything could be answered.
      await ask().catch(async (error: unknown) => {
        if (!(error instanceof BrowserError)) throw error;
        return await ask();
      });
    } catch (error) {
      if (error instanceof BrowserError) tell(error);
      // A page that is navigating, or closed by us, answers nothing either.
      else if (isCrash(error)) ended();
    }
  };
  const timer = setInterval(() => {
    if (asking) return;
    asking = true;
    void beat().finally(() => (asking = false));
  }, beatMs);
  return { gone, [Symbol.dispose]: () => clearInterval(timer) };
}

/** @param what what was waited for, such as "its page" */
export function unanswered(milliseconds: number, what: string): BrowserError {
  return new BrowserError(
    `The browser that does the work does not answer: ${what} gave no sign of life for ${Math.ceil(milliseconds / 1000)} s. One of its processes may have been killed, or the machine may be out of memory. Give the same command again.`,
  );
}

/** Whether Playwright says, in its own words, that what it asked is not there any more. */
export function isClosed(error: unknown): boolean {
  return isCrash(error) || said(error, /has been closed|browser has disconnected/i);
}

function isCrash(error: unknown): boolean {
  return said(error, /crashed/i);
}

function said(error: unknown, words: RegExp): boolean {
  return error instanceof Error && words.test(error.message);
}
