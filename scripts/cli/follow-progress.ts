// Progress of a job as lines of text: one where a terminal is watching and can be overwritten, else one per step and phase.

import type { Page } from "playwright";
import { formatBytes } from "../../src/formats/format-bytes.ts";
import type { Progress } from "../../src/api/compressor-api.ts";

const INTERVAL_MS = 500;

/** Prints what the page's job does until disposed. */
export function followProgress(page: Page, print: (line: string) => void): Disposable {
  let last = "";
  let asking = false;
  const timer = setInterval(() => {
    if (asking) return;
    asking = true;
    void page
      .evaluate(() => globalThis.layerpress.progress())
      .then((progress) => {
        const line = progress && progressLine(progress);
        if (line && line !== last) print(line);
        last = line ?? last;
      })
      // The page may be closing; what went wrong is told by the call that runs the job.
      .catch(() => undefined)
      .finally(() => {
        asking = false;
      });
  }, INTERVAL_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function progressLine({ phase, step, steps, stepName, gpuPeakBytes, notice }: Progress): string {
  const place = `${phase} ${stepName} (step ${step} of ${steps}), GPU peak ${formatBytes(gpuPeakBytes)}`;
  return notice ? `${place}. ${notice}` : place;
}
