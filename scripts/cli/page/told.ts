// Playwright rewrites errors that cross from a page: what a command asks of one tells a failure as a value, with the page's own sentence.

import type { Page } from "playwright";
import { pageError, type PageFailure } from "./page-error.ts";

export interface Told<Answer> {
  readonly answer?: Answer;
  readonly failure?: PageFailure;
}

declare global {
  /** In the page of a command: what comes of some work, or what it failed of. */
  var layerpressTold: <Answer>(work: () => Promise<Answer>) => Promise<Told<Answer>>;
}

/** Gives a page `layerpressTold`, from the next address on that it opens. */
export async function letTell(page: Page): Promise<void> {
  await page.addInitScript(() => {
    globalThis.layerpressTold = async (work) => {
      try {
        return { answer: await work() };
      } catch (error) {
        const { name, message } = error instanceof Error ? error : new Error(String(error));
        return { failure: { name, message } };
      }
    };
  });
}

/** The answer. @throws Error with the page's name and sentence */
export function answerOf<Answer extends object>({ answer, failure }: Told<Answer>): Answer {
  if (answer) return answer;
  throw pageError(failure ?? { name: "Error", message: "The page gave no answer." });
}
