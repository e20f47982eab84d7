// What the page does and what it waits for, as lines of text: one for each step and phase, and one now and then within them.

import type { Page } from "playwright";
import { inOneLine } from "../../../src/errors.ts";
import { formatBytes } from "../../../src/formats/text/format-bytes.ts";
import type { Progress } from "../../../src/api/compressor-api.ts";

const INTERVAL_MS = 500;
/** Within a step nothing more is told than a line in this time. */
const DETAIL_MS = 10_000;

/** What a page tells of itself. */
export interface Told {
  readonly progress: Progress | null;
  /** "waiting 8 s: huggingface.co answers 503 (unavailable), attempt 2 of 7", or null. */
  readonly waiting: string | null;
}

export interface Followed extends Disposable {
  /** The newest report of the job; null before the first. */
  readonly progress: Progress | null;
}

/** Prints what the page's job does until disposed. */
export function followProgress(page: Page, print: (line: string) => void): Followed {
  const write = progressLines();
  let progress: Progress | null = null;
  let asking = false;
  const timer = setInterval(() => {
    if (asking) return;
    asking = true;
    void page
      .evaluate(async () => ({
        progress: globalThis.layerpress.progress(),
        waiting: await globalThis.layerpress.waiting(),
      }))
      .then((told) => {
        ({ progress } = told);
        for (const line of write(told, performance.now())) print(line);
      })
      // The page may be closing; what went wrong is told by the call that runs the job.
      .catch(() => undefined)
      .finally(() => {
        asking = false;
      });
  }, INTERVAL_MS);
  return {
    get progress() {
      return progress;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** Makes what turns reports into the lines that are new. */
export function progressLines(): (told: Told, now: number) => string[] {
  const last = { place: "", notice: "", waiting: "", detail: "", at: -Infinity };
  return ({ progress, waiting }, now) => {
    const lines: string[] = [];
    const notice = progress?.notice ?? "";
    const place = progress ? placeOf(progress) : last.place;
    const detail = progress?.detail ?? "";
    if (place !== last.place || (detail !== last.detail && now - last.at >= DETAIL_MS)) {
      const peak = progress ? `, GPU peak ${formatBytes(progress.gpuPeakBytes)}` : "";
      lines.push(`${place}${detail && place === last.place ? `: ${detail}` : ""}${peak}`);
      Object.assign(last, { place, detail, at: now });
    }
    if (notice !== last.notice && notice !== "") lines.push(notice);
    if (waiting !== null && waiting !== last.waiting) lines.push(waiting);
    Object.assign(last, { notice, waiting: waiting ?? "" });
    return lines.map(inOneLine);
  };
}

function placeOf({ phase, step, steps, stepName }: Progress): string {
  return `${phase} ${stepName} (step ${step} of ${steps})`;
}
