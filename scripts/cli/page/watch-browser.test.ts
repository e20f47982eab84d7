import { EventEmitter } from "node:events";
import type { BrowserContext, Page } from "playwright";
import { describe, expect, it } from "vitest";
import { watchBrowser } from "./watch-browser.ts";

const TIMES = { beatMs: 1, silenceMs: 20 };

/** A browser whose page answers as it is told. */
function browser(answer: () => Promise<unknown>) {
  const context = new EventEmitter();
  const page = Object.assign(new EventEmitter(), { evaluate: answer });
  return {
    context: context as unknown as BrowserContext,
    page: page as unknown as Page,
    close: () => context.emit("close"),
    crash: () => page.emit("crash"),
  };
}

describe("watchBrowser", () => {
  it("says that a browser has ended, by its own word or by what its page answers", async () => {
    const closed = browser(async () => true);
    using closing = watchBrowser(closed.context, closed.page, TIMES);
    closed.close();
    await expect(closing.gone).rejects.toThrow(/browser that does the work has ended/);

    const killed = browser(async () => true);
    using killing = watchBrowser(killed.context, killed.page, TIMES);
    killed.crash();
    await expect(killing.gone).rejects.toThrow(/has ended/);

    const { context, page } = browser(async () => await Promise.reject(new Error("Target crashed")));
    using asking = watchBrowser(context, page, TIMES);
    await expect(asking.gone).rejects.toThrow(/has ended/);
  });

  it("ends the waiting for a page that never answers", async () => {
    const { context, page } = browser(async () => await new Promise(() => undefined));
    using watch = watchBrowser(context, page, TIMES);
    await expect(watch.gone).rejects.toMatchObject({
      name: "BrowserError",
      message: expect.stringMatching(
        /does not answer: its page gave no sign of life for 1 s.*same command again/,
      ),
    });
  });

  it("takes neither a page that answers nor one that is navigating for gone", async () => {
    let asked = 0;
    let enough: () => void = () => undefined;
    const often = new Promise<void>((resolve) => (enough = resolve));
    const { context, page } = browser(async () => {
      asked++;
      if (asked === 20) enough();
      if (asked % 2 === 0) throw new Error("Execution context was destroyed");
      return true;
    });
    using watch = watchBrowser(context, page, TIMES);
    const gone = watch.gone.then(
      () => "gone",
      () => "gone",
    );
    expect(await Promise.race([gone, often.then(() => "there")])).toBe("there");
  });
});
