import type { Page } from "playwright";
import type { Published, PublishProgress, PublishRequest } from "../../../src/api/publisher-api.ts";
import { formatBytes } from "../../../src/formats/text/format-bytes.ts";
import { answerOf } from "./told.ts";

const INTERVAL_MS = 500;
/** Within a phase nothing more is told than a line in this time. */
const DETAIL_MS = 10_000;

/**
 * Has the page publish its result, and prints how far it is.
 * @throws Error with the page's sentence
 */
export async function pushResult(page: Page, request: Omit<PublishRequest, "jobId">): Promise<Published> {
  const write = publishLines();
  const timer = setInterval(() => {
    void page
      .evaluate(() => globalThis.layerpress.publishing())
      .then((progress) => write(progress, performance.now()).forEach((line) => console.log(line)))
      // The page may be closing; what went wrong is told by the call that publishes.
      .catch(() => undefined);
  }, INTERVAL_MS);
  try {
    return answerOf(
      await page.evaluate(
        async (asked) =>
          await globalThis.layerpressTold(async () => await globalThis.layerpress.publish(asked)),
        request,
      ),
    );
  } finally {
    clearInterval(timer);
  }
}

function publishLines(): (progress: PublishProgress | null, now: number) => string[] {
  const last = { phase: "", at: -Infinity };
  return (progress, now) => {
    if (!progress || (progress.phase === last.phase && now - last.at < DETAIL_MS)) return [];
    Object.assign(last, { phase: progress.phase, at: now });
    const { phase, doneBytes, totalBytes, bytesPerSecond, secondsLeft } = progress;
    const share = `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
    const rate = bytesPerSecond > 0 ? `, ${formatBytes(bytesPerSecond)}/s` : "";
    const left = secondsLeft === null ? "" : `, ${Math.ceil(secondsLeft)} s left`;
    return [`publishing: ${phase} ${share}${rate}${left}`];
  };
}
